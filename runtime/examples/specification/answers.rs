//! The specification's answers that are kept: they depend on the block alone, and take most of a run's time.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use counterpoint::cli::t8n::Output;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use revm::primitives::keccak256;
use serde_json::{Value, json};

/// A folder of answers, each under the hash of its question.
#[derive(Debug)]
pub(crate) struct Answers(PathBuf);

impl Answers {
    /// Creates the folder if there is none.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    fn place(&self, question: &str) -> PathBuf {
        self.0.join(format!("{:x}.json.gz", keccak256(question)))
    }

    /// The answer, if it was kept and can be read.
    pub(crate) fn get(&self, question: &str) -> Option<Output> {
        let mut text = String::new();
        GzDecoder::new(File::open(self.place(question)).ok()?).read_to_string(&mut text).ok()?;
        let mut answer: Value = serde_json::from_str(&text).ok()?;
        let mut take = |field: &str| answer.get_mut(field).map(Value::take);
        Some(Output { alloc: take("alloc")?, result: take("result")?, body: take("body")? })
    }

    /// Keeps an answer. It appears under its name when all of it is written.
    pub(crate) fn keep(&self, question: &str, answer: &Output) -> io::Result<()> {
        let place = self.place(question);
        let draft = place.with_extension(format!("draft-{}", std::process::id()));
        let text = json!({ "alloc": answer.alloc, "result": answer.result, "body": answer.body }).to_string();
        let mut file = GzEncoder::new(File::create(&draft)?, Compression::fast());
        file.write_all(text.as_bytes())?;
        file.finish()?;
        fs::rename(draft, place)
    }
}

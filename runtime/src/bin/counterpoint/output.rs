//! Standard output, standard error and the progress bar, none of which may bring the command down.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is over sooner needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the command writes.
#[derive(Debug)]
pub(crate) struct Output {
    bar: ProgressBar,
    /// When the bar appears, if it may.
    appears: Option<Instant>,
}

impl Output {
    /// Output of a command that takes this many steps.
    pub(crate) fn new(steps: usize, progress: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)") {
            bar.set_style(style);
        }
        let appears = (progress && io::stderr().is_terminal()).then(|| Instant::now() + PATIENCE);
        Self { bar, appears }
    }

    /// Says what is being done.
    pub(crate) fn begin(&mut self, what: impl Display) {
        if self.appears.is_some_and(|at| Instant::now() >= at) {
            self.appears = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(what.to_string());
    }

    /// A step is done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Takes the progress bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line to standard output.
    pub(crate) fn line(&self, line: impl Display) -> io::Result<()> {
        self.bar.suspend(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{line}")?;
            stdout.flush()
        })
    }

    /// Writes a message to standard error, if there is one to write to.
    pub(crate) fn complain(&self, message: impl Display) {
        self.bar.suspend(|| complain(message));
    }
}

/// Writes a message to standard error, if there is one to write to.
pub(crate) fn complain(message: impl Display) {
    let _ = writeln!(io::stderr(), "counterpoint: {message}");
}

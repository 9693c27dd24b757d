//! A node with a state in memory, which delays, fails, lies or cuts connections as it is told.

#![allow(dead_code, reason = "each user needs its own part")]

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use counterpoint::state::MemorySource;
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
};
use serde_json::{Value, json};

/// What the node does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Honest,
    /// Takes so many milliseconds for a response.
    Slow(u64),
    /// Answers with status 503 at first, and every other time.
    Overloaded,
    /// Ends every other connection in the middle of a response.
    Cuts,
    /// Answers every other time with something that is no JSON.
    Garbled,
    /// Every other time, gives a third of the answers ids that nobody used.
    WrongIds,
    /// Answers slots with an object.
    WrongType,
    /// Says of slots that it does not know the method.
    Refuses,
    /// Answers batches of more calls with one error, without an id.
    Takes(usize),
    /// The same in a list, with the first call's id.
    TakesAsGeth(usize),
    /// Never answers in time.
    Stuck,
}

/// A node with a state in memory. Each of its connections has a thread.
pub(crate) struct Node {
    pub(crate) url: String,
    address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    memory: MemorySource,
    manner: Manner,
    closing: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    pub(crate) posts: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) asked: Mutex<BTreeMap<String, u64>>,
}

impl Node {
    pub(crate) fn start(memory: &MemorySource, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            memory: memory.clone(),
            manner,
            closing: AtomicBool::new(false),
            connections: Mutex::default(),
            posts: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        let everybody = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &everybody));
        Self { url: format!("http://{address}"), address, shared, acceptor: Some(acceptor) }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for (number, connection) in listener.incoming().enumerate() {
        if shared.closing.load(Ordering::SeqCst) {
            break;
        }
        let connection = connection.expect("a connection");
        connection.set_nodelay(true).expect("a connection");
        let kept = connection.try_clone().expect("a connection");
        shared.connections.lock().expect("not poisoned").push(kept);
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // A connection that ends in the middle has nobody at the other end any more.
            let _ = shared.serve(&connection, number);
            let _ = connection.shutdown(Shutdown::Both);
        }));
    }
    for thread in threads {
        thread.join().expect("the node is well");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes who accepts. Whoever came before is on the list by then, or finds the node closing.
        let _ = TcpStream::connect(self.address);
        while let Some(acceptor) = &self.acceptor {
            for connection in self.shared.connections.lock().expect("not poisoned").drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
            if acceptor.is_finished() {
                let acceptor = self.acceptor.take().expect("it is there");
                acceptor.join().expect("the node is well");
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The body of the next request, as far as it tells its length.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

impl Shared {
    /// Answers what comes over a connection, one request after the other.
    fn serve(&self, connection: &TcpStream, number: usize) -> io::Result<()> {
        let mut reader = BufReader::new(connection);
        let mut writer = connection;
        while let Some(body) = read_request(&mut reader)? {
            let (status, body) = self.handle(&body);
            let mut response = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let cut = self.manner == Manner::Cuts && number.is_multiple_of(2);
            if cut {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                response.truncate(response.len() / 2);
            }
            writer.write_all(response.as_bytes())?;
            if cut {
                break;
            }
        }
        Ok(())
    }

    /// Status and body of a response.
    fn handle(&self, body: &[u8]) -> (&'static str, String) {
        let number = self.posts.fetch_add(1, Ordering::SeqCst);
        let calls: Value = serde_json::from_slice(body).expect("JSON");
        let calls = calls.as_array().cloned().unwrap_or_else(|| vec![calls]);
        let mut answers: Vec<Value> = calls.iter().map(|call| self.answer(call)).collect();
        let too_large = |id: &Value| {
            let error = json!({"code": -32600, "message": "batch too large"});
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        };
        let every_other = number.is_multiple_of(2);
        match self.manner {
            Manner::Slow(milliseconds) => thread::sleep(Duration::from_millis(milliseconds)),
            Manner::Stuck => {
                let mut waited = 0;
                while waited < 10_000 && !self.closing.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                    waited += 20;
                }
            }
            Manner::Takes(most) if calls.len() > most => {
                return ("200 OK", too_large(&Value::Null).to_string());
            }
            Manner::TakesAsGeth(most) if calls.len() > most => {
                answers = vec![too_large(&calls[0]["id"])];
            }
            Manner::Overloaded if every_other => return ("503 Service Unavailable", "too much".to_owned()),
            Manner::Garbled if every_other => return ("200 OK", "<html>try again</html>".to_owned()),
            Manner::WrongIds if every_other => {
                let step = (number / 2 % 3) as usize;
                for (place, answer) in answers.iter_mut().enumerate() {
                    if place % 3 == step {
                        answer["id"] = json!(1_000_000 + place);
                    }
                }
            }
            _ => {}
        }
        ("200 OK", Value::Array(answers).to_string())
    }

    fn answer(&self, call: &Value) -> Value {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (method, params) = (call["method"].as_str().expect("a method"), &call["params"]);
        *self.asked.lock().expect("not poisoned").entry(format!("{method} {params}")).or_default() += 1;
        let address = || -> Address { params[0].as_str().expect("an address").parse().expect("an address") };
        let account = || self.memory.basic_ref(address()).expect("it has all").unwrap_or_default();
        let number =
            |value: &Value| U256::from_str_radix(&value.as_str().expect("a number")[2..], 16).expect("hex");
        let result = match method {
            "eth_getBalance" => json!(account().balance),
            "eth_getTransactionCount" => json!(U256::from(account().nonce)),
            "eth_getCode" => {
                let hash = account().code_hash;
                let code = if hash.is_zero() {
                    Bytecode::default()
                } else {
                    self.memory.code_by_hash_ref(hash).expect("it has all")
                };
                json!(code.original_bytes())
            }
            "eth_getStorageAt" if self.manner == Manner::WrongType => json!({"value": "0x1"}),
            "eth_getStorageAt" if self.manner == Manner::Refuses => {
                let error = json!({"code": -32601, "message": "no such method"});
                return json!({"jsonrpc": "2.0", "id": call["id"], "error": error});
            }
            "eth_getStorageAt" => {
                let value = self.memory.storage_ref(address(), number(&params[1])).expect("it has all");
                json!(B256::from(value))
            }
            "eth_getBlockByNumber" => {
                let hash = self.memory.block_hash_ref(number(&params[0]).to());
                hash.map_or(Value::Null, |hash| json!({"number": params[0], "hash": hash}))
            }
            other => panic!("{other}"),
        };
        json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
    }
}

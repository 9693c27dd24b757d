//! A node with a state in memory, which delays, fails, lies or cuts connections as it is told.

#![allow(dead_code, reason = "each user needs its own part")]

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{TcpListener, TcpStream},
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
use tiny_http::{Header, Response, Server};

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
    /// Never answers in time.
    Stuck,
}

/// A node with a state in memory.
pub(crate) struct Node {
    pub(crate) url: String,
    server: Arc<Server>,
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) struct Shared {
    memory: MemorySource,
    manner: Manner,
    closing: AtomicBool,
    pub(crate) posts: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) asked: Mutex<BTreeMap<String, u64>>,
}

impl Node {
    pub(crate) fn start(memory: &MemorySource, manner: Manner) -> Self {
        Self::with_threads(memory, manner, 4)
    }

    /// One that answers so many requests at a time.
    pub(crate) fn with_threads(memory: &MemorySource, manner: Manner, threads: usize) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a port"));
        let url = format!("http://{}", server.server_addr());
        let shared = Arc::new(Shared {
            memory: memory.clone(),
            manner,
            closing: AtomicBool::new(false),
            posts: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        let threads = (0..threads).map(|_| {
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    shared.handle(request);
                    if shared.closing.load(Ordering::SeqCst) {
                        break;
                    }
                }
            })
        });
        let threads = threads.collect();
        let url = if manner == Manner::Cuts { cutting(&server, &shared) } else { url };
        Self { url, threads, server, shared }
    }
}

/// A way to the node on which every other connection ends in the middle of its first response.
fn cutting(server: &Server, shared: &Arc<Shared>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let node = server.server_addr().to_ip().expect("an address");
    let shared = Arc::clone(shared);
    // It ends with the process.
    thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let (mut client, shared) = (connection.expect("a connection"), Arc::clone(&shared));
            thread::spawn(move || {
                let mut server = TcpStream::connect(node).expect("the node listens");
                let mut request = client.try_clone().expect("a connection");
                let mut on = server.try_clone().expect("a connection");
                thread::spawn(move || std::io::copy(&mut request, &mut on));
                let mut response = [0; 4_096];
                let length = std::io::Read::read(&mut server, &mut response).unwrap_or_default();
                let cut = number.is_multiple_of(2);
                shared.cuts.fetch_add(u64::from(cut), Ordering::SeqCst);
                let _ = client.write_all(&response[..if cut { length / 2 } else { length }]);
                if !cut {
                    let _ = std::io::copy(&mut server, &mut client);
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    format!("http://{address}")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for _ in &self.threads {
            self.server.unblock();
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("the node is well");
        }
    }
}

impl Shared {
    fn handle(&self, mut request: tiny_http::Request) {
        let number = self.posts.fetch_add(1, Ordering::SeqCst);
        let mut body = String::new();
        request.as_reader().read_to_string(&mut body).expect("a body");
        let calls: Value = serde_json::from_str(&body).expect("JSON");
        let calls = calls.as_array().cloned().unwrap_or_else(|| vec![calls]);
        let mut answers: Vec<Value> = calls.iter().map(|call| self.answer(call)).collect();
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
            Manner::Overloaded if every_other => {
                let _ = request.respond(Response::from_string("too much").with_status_code(503));
                return;
            }
            Manner::Garbled if every_other => {
                let _ = request.respond(Response::from_string("<html>try again</html>"));
                return;
            }
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
        let json = Header::from_bytes("Content-Type", "application/json").expect("a header");
        let answers = Value::Array(answers).to_string();
        // The other side may be gone.
        let _ = request.respond(Response::from_string(answers).with_header(json));
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

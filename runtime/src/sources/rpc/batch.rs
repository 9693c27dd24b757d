//! Calls that leave together, and what a node answers to all of them.

use std::{collections::HashMap, future::poll_fn};

use alloy_json_rpc::{
    Id, Request, RequestPacket, Response, ResponsePacket, RpcError as JsonRpcError, RpcRecv, RpcSend,
    SerializedRequest, transform_response,
};
use alloy_rpc_client::{ClientRef, Waiter};
use alloy_transport::{Transport, TransportError, TransportErrorKind, TransportFut, TransportResult};
use serde_json::value::RawValue;
use tokio::sync::oneshot::{self, Sender};

/// Calls that leave together. As alloy's, but an answer to the batch as a whole is not lost.
pub(super) struct Batch<'a> {
    client: ClientRef<'a>,
    calls: Vec<SerializedRequest>,
    waiting: HashMap<Id, Sender<TransportResult<Box<RawValue>>>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(client: ClientRef<'a>) -> Self {
        Self { client, calls: Vec::new(), waiting: HashMap::new() }
    }

    pub(super) fn add<P: RpcSend, T: RpcRecv>(
        &mut self,
        method: &'static str,
        params: P,
    ) -> TransportResult<Waiter<T>> {
        let call: Request<P> = self.client.make_request(method, params);
        let call = call.serialize().map_err(TransportError::ser_err)?;
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(call.id().clone(), sender);
        self.calls.push(call);
        Ok(answer.into())
    }

    /// Sends the calls, and hands out the answers.
    pub(super) async fn send(mut self) -> TransportResult<()> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let count = self.calls.len();
        let mut transport = self.client.transport().clone();
        let answers = match call(&mut transport, RequestPacket::Batch(self.calls)).await? {
            ResponsePacket::Single(answer) => vec![answer],
            ResponsePacket::Batch(answers) => answers,
        };
        if let [Response { payload, .. }] = &answers[..]
            && let Some(error) = payload.as_error().filter(|_| count > 1)
        {
            // One for all of them, with the first one's id or none.
            return Err(JsonRpcError::ErrorResp(error.clone()));
        }
        for answer in answers {
            if let Some(sender) = self.waiting.remove(&answer.id) {
                // Nobody waits any more if the time is over.
                let _ = sender.send(transform_response(answer));
            }
        }
        for (id, sender) in self.waiting {
            let _ = sender.send(Err(TransportErrorKind::missing_batch_response(id)));
        }
        Ok(())
    }
}

/// The transport's own methods come with the bound.
async fn call<T: Transport>(transport: &mut T, calls: RequestPacket) -> TransportResult<ResponsePacket> {
    poll_fn(|context| transport.poll_ready(context)).await?;
    let answer: TransportFut<'static> = transport.call(calls);
    answer.await
}

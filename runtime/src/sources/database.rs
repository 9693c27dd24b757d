//! revm's asynchronous databases as an [`AsyncSource`].

use std::fmt;

use counterpoint_state::{Answer, Key, Request, SourceError};
use futures_util::future::join_all;
use revm_database_interface::async_db::{DatabaseAsync, DatabaseAsyncRef};
// Seam: a source's own, outside of blocks.
use tokio::sync::Mutex;

use super::{AsyncSource, ReadError, without_id};

/// A `DatabaseAsyncRef`: any number of reads at a time.
pub struct AsyncDatabase<D>(D);

impl<D> AsyncDatabase<D> {
    /// Reads from this database.
    pub fn new(database: D) -> Self {
        Self(database)
    }

    /// The database.
    pub fn database(&self) -> &D {
        &self.0
    }
}

impl<D: DatabaseAsyncRef + Send + Sync + 'static> AsyncSource for AsyncDatabase<D> {
    async fn serve(&self, requests: Vec<Request>) {
        let database = &self.0;
        join_all(requests.into_iter().map(|request| async move {
            let key = request.key();
            let answer = match key {
                Key::Account(address) => {
                    database.basic_async_ref(address).await.map(|info| Answer::Account(info.map(without_id)))
                }
                Key::Storage(address, slot) => {
                    database.storage_async_ref(address, slot).await.map(Answer::Storage)
                }
                Key::Code(hash) => database.code_by_hash_async_ref(hash).await.map(Answer::Code),
                Key::BlockHash(number) => database.block_hash_async_ref(number).await.map(Answer::BlockHash),
            };
            request.answer(answer.map_err(|error| failed(key, error)));
        }))
        .await;
    }
}

/// Several instances of a `DatabaseAsync` (connections, say): each reads one key at a time.
pub struct AsyncDatabases<D>(Vec<Mutex<D>>);

impl<D> AsyncDatabases<D> {
    /// Reads from these. Without any, every read fails.
    pub fn new(databases: impl IntoIterator<Item = D>) -> Self {
        Self(databases.into_iter().map(Mutex::new).collect())
    }
}

impl<D: DatabaseAsync + Send + 'static> AsyncSource for AsyncDatabases<D> {
    async fn serve(&self, requests: Vec<Request>) {
        let mut lanes: Vec<Vec<Request>> = self.0.iter().map(|_| Vec::new()).collect();
        let count = lanes.len().max(1);
        for (number, request) in requests.into_iter().enumerate() {
            // Without a database the request is dropped, which answers it.
            if let Some(lane) = lanes.get_mut(number % count) {
                lane.push(request);
            }
        }
        join_all(self.0.iter().zip(lanes).map(|(database, requests)| async move {
            for request in requests {
                let mut database = database.lock().await;
                let key = request.key();
                let answer = match key {
                    Key::Account(address) => {
                        database.basic_async(address).await.map(|info| Answer::Account(info.map(without_id)))
                    }
                    Key::Storage(address, slot) => {
                        database.storage_async(address, slot).await.map(Answer::Storage)
                    }
                    Key::Code(hash) => database.code_by_hash_async(hash).await.map(Answer::Code),
                    Key::BlockHash(number) => database.block_hash_async(number).await.map(Answer::BlockHash),
                };
                request.answer(answer.map_err(|error| failed(key, error)));
            }
        }))
        .await;
    }
}

fn failed(key: Key, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError::new(ReadError::Failed { key, cause: Box::new(error) })
}

impl<D> fmt::Debug for AsyncDatabase<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDatabase").finish_non_exhaustive()
    }
}

impl<D> fmt::Debug for AsyncDatabases<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDatabases").field("databases", &self.0.len()).finish_non_exhaustive()
    }
}

//! Logs in a data directory: stored ones are objects, those of containers that run are files. The coordinator's own reader
//! reads both, without a coordinator.

use std::io;
use std::path::PathBuf;

use futures::TryStreamExt;
use jobmeter_coordinator::config::objects::ObjectsConfig;
use jobmeter_coordinator::logs::live::LiveLogs;
use jobmeter_coordinator::logs::read::{LogReader, ReadError};
use jobmeter_coordinator::objects::Objects;
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_protocol::{LogEntry, LogQuery, LogRead, Page};

use super::{Local, LocalError};
use crate::run::DataDir;
use crate::source::{LogAnswer, LogText};

/// As `jobmeter run` and `standalone` read it: where their logs went into a store.
const SECRET: &str = "JOBMETER_OBJECT_STORE_SECRET";

impl Local {
    pub(in crate::source) async fn logs(&self, query: &LogQuery) -> Result<Page<LogEntry>, LocalError> {
        Ok(self.store.logs(query).await?)
    }

    pub(in crate::source) async fn read_log(&self, namespace: &str, pod: &str, read: &LogRead) -> Result<LogAnswer, LocalError> {
        let reader = self.reader();
        let opened = match reader.find(namespace, pod, read).await {
            Ok(found) => reader.open(found, read, None).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(text) => Ok(LogAnswer::Here(LogText {
                state: Some(text.state.to_owned()),
                notice: text.notice.map(str::to_owned),
                bytes: Box::pin(text.body.map_err(io::Error::other)),
            })),
            Err(error @ ReadError::NotYet { .. }) => Ok(LogAnswer::NotYet { said: error.to_string(), after: None }),
            Err(error @ (ReadError::Live(_) | ReadError::Store(_) | ReadError::Object(_))) => {
                Err(LocalError::Log(Box::new(error)))
            }
            Err(error) => Ok(LogAnswer::Nothing { said: error.to_string() }),
        }
    }

    fn reader(&self) -> LogReader {
        let mut config = ObjectsConfig::standalone(&self.directory);
        config.secret_dir = std::env::var_os(SECRET).map(PathBuf::from);
        let live = LiveLogs::Directory(DataDir::at(&self.directory).pods());
        LogReader::new(self.store.clone(), Objects::new(config, SourceBoard::default()), live)
    }
}

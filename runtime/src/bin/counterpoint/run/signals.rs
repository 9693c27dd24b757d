//! SIGINT and SIGTERM: the first one ends the command after the block under way, the second one at once.

use std::future;

use tokio::sync::watch;

/// Whether a signal came, as the exit code that shells give to a command that one ended.
#[derive(Debug)]
pub(super) struct Signals(watch::Receiver<Option<u8>>);

impl Signals {
    /// Listens from now on. To be called before there are other threads, since signals are kept from those that are started
    /// later. Where this is not to be had, a signal ends the process at once.
    pub(super) fn listen() -> Self {
        let (sender, receiver) = watch::channel(None);
        #[cfg(target_os = "linux")]
        linux::listen(sender);
        #[cfg(not(target_os = "linux"))]
        drop(sender);
        Self(receiver)
    }

    /// Waits for a signal.
    pub(super) async fn wait(&mut self) -> u8 {
        let code = self.0.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        match code {
            Some(code) => code,
            None => future::pending().await,
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{process, thread};

    use nix::sys::signal::{SigSet, Signal};
    use tokio::sync::watch;

    pub(super) fn listen(sender: watch::Sender<Option<u8>>) {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        let listen = move || {
            if let Some(code) = wait(&signals) {
                sender.send_replace(Some(code));
            }
            // Who asks again does not want to wait; a commit under way is there as a whole or not at all.
            if let Some(code) = wait(&signals) {
                process::exit(code.into());
            }
        };
        if signals.thread_block().is_err() {
            return;
        }
        let listener = thread::Builder::new().name("counterpoint-signals".to_owned()).spawn(listen);
        if listener.is_err() {
            let _ = signals.thread_unblock();
        }
    }

    fn wait(signals: &SigSet) -> Option<u8> {
        let signal = signals.wait().ok()?;
        u8::try_from(128 + signal as i32).ok()
    }
}

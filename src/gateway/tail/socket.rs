//! Following by WebSocket: what server-sent events say, as text messages.

use std::pin::pin;

use futures_util::StreamExt as _;

use super::frames::{self, Notice, Told};
use super::watcher::{Over, Watcher};
use crate::gateway::websocket::{Closing, Heard, Socket};

/// Tells a client what its watcher finds, until either ends.
pub(super) async fn serve(mut socket: Socket, watcher: Watcher) {
    let mut news = pin!(watcher.into_stream());
    let closing = loop {
        tokio::select! {
            told = news.next() => match told {
                Some(Ok(told)) => {
                    if let Err(closing) = say(&mut socket, told).await {
                        break closing;
                    }
                }
                Some(Err(Over::NotAllowed(_))) => break Closing::NotAllowed,
                Some(Err(Over::Draining)) | None => break Closing::Draining,
            },
            heard = socket.hear() => match heard {
                // Clients have nothing to say here.
                Ok(Heard::Text(_)) => {}
                Err(closing) => break closing,
            },
        }
    };
    socket.close(closing).await;
}

async fn say(socket: &mut Socket, told: Vec<Told>) -> Result<(), Closing> {
    for it in told {
        let (id, is_alive) = (it.id, it.what == Notice::Alive);
        match frames::message(it) {
            Some(text) => socket.add(text).await?,
            None if is_alive => socket.ping(&id.to_string()).await?,
            None => {}
        }
    }
    socket.flush().await
}

//! Tickets: a right that fits into a URL, for browsers' `EventSource` and WebSockets, which
//! cannot send a key. A ticket opens one connection, soon; who reads it in a log later has
//! nothing.

use std::collections::HashMap;
use std::time::Duration;

use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::{UnixMillis, random_bytes};
use hyper::StatusCode;
use parking_lot::Mutex;
use serde_json::json;

use super::events::Listener;
use super::reply::{self, Reply};
use super::v2::without_right;
use crate::access::{Access, ClientHeaders};
use crate::api::Caller;
use crate::state::State;

/// How long a ticket waits for its one use.
const LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that wait; further ones are refused until some are used or expire.
const MAX_TICKETS: usize = 4096;

/// Tickets that wait for their use: 256 random bits each, so that looking one up by its text
/// tells nobody anything about the others.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Listener, UnixMillis)>>);

impl Tickets {
    /// A ticket for whoever asks; `None` if there are too many.
    fn issue(&self, text: String, holder: &Listener, now: UnixMillis) -> Option<UnixMillis> {
        let mut waiting = self.0.lock();
        waiting.retain(|_, (_, expires)| *expires > now);
        if waiting.len() >= MAX_TICKETS {
            return None;
        }
        let expires = now.plus(LIFETIME);
        waiting.insert(text, (holder.clone(), expires));
        Some(expires)
    }

    /// Whose ticket this is. It is used up.
    pub(super) fn take(&self, text: &str, now: UnixMillis) -> Option<Listener> {
        let (holder, expires) = self.0.lock().remove(text)?;
        (expires > now).then_some(holder)
    }
}

/// `POST /api/v2/tickets`
pub(super) fn issue(state: &State, caller: &Caller, headers: &ClientHeaders) -> Reply {
    if let Some(refused) = without_right(caller, Access::Read) {
        return refused;
    }
    let Ok(random) = random_bytes() else {
        return reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the system has no random bytes",
        );
    };
    let ticket = key_text(random);
    let holder = Listener {
        caller: caller.clone(),
        headers: headers.clone(),
    };
    match state.tickets.issue(ticket.clone(), &holder, state.now()) {
        Some(expires) => reply::json(
            StatusCode::CREATED,
            &json!({ "ticket": ticket, "expires": expires.0 }),
        ),
        None => reply::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many tickets wait to be used; try again in half a minute",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Identity;

    #[test]
    fn a_ticket_opens_once_and_soon_and_their_number_is_bounded() {
        let caller = Caller {
            connection: 1,
            secure: false,
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            host: None,
            access: Access::Read,
            identity: Identity::nobody(),
        };
        let caller = Listener {
            caller,
            headers: ClientHeaders::default(),
        };
        let (tickets, now) = (Tickets::default(), UnixMillis(1_000));
        let expires = tickets.issue("a".into(), &caller, now).unwrap();
        assert_eq!(tickets.take("a", now).unwrap().caller.access, Access::Read);
        assert!(tickets.take("a", now).is_none(), "used up");
        assert!(tickets.take("b", now).is_none(), "never issued");
        tickets.issue("c".into(), &caller, now).unwrap();
        assert!(tickets.take("c", expires).is_none(), "too late");
        for n in 0..MAX_TICKETS {
            assert!(tickets.issue(n.to_string(), &caller, now).is_some());
        }
        assert!(tickets.issue("more".into(), &caller, now).is_none());
        assert!(tickets.issue("later".into(), &caller, expires).is_some());
    }
}

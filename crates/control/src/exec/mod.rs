//! ECS Exec's data channels: between a client that speaks Session Manager's protocol over a WebSocket and a command in a
//! container, which the host's agent starts.
//!
//! `api::ecs::execute` gives out [`Ticket`]s, the server hands WebSocket requests to [`Channels::open`]. What must stay true:
//! nobody without a ticket reaches a container, each ticket opens one channel, soon or never; a client that doesn't read
//! holds up its own command alone.

mod channel;
mod socket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fogbank_pki::Sessions;
use fogbank_types::{RegionConfig, Timestamp};
use serde::{Deserialize, Serialize};

/// Between ExecuteCommand and the connection.
const TICKET_MS: i64 = 60_000;
const PURPOSE: &str = "exec";
pub const PATH: &str = "/v1/data-channel/";

/// What a session's token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// `ecs-execute-command-0123456789abcdef0`
    pub session: String,
    pub task: String,
    pub container: String,
    pub command: Vec<String>,
    pub issued_at: Timestamp,
}

impl Ticket {
    /// As `tokenValue`.
    pub fn seal(&self, sessions: &Sessions) -> String {
        let content = serde_json::to_vec(self).expect("a ticket is strings and a number");
        sessions.seal(PURPOSE, &content)
    }
}

/// The channels of a region's control.
pub struct Channels {
    config: Arc<RegionConfig>,
    sessions: Sessions,
    /// Tickets from before are of channels that ended with the process before this one.
    since: Timestamp,
    /// Sessions that were opened, until their tickets are worthless.
    opened: Mutex<BTreeMap<String, Timestamp>>,
}

impl Channels {
    pub fn new(config: RegionConfig, sessions: Sessions, now: Timestamp) -> Self {
        Self {
            config: Arc::new(config),
            sessions,
            since: now,
            opened: Mutex::default(),
        }
    }

    /// What a token is good for, once.
    fn admit(&self, session: &str, token: &str, now: Timestamp) -> Option<Ticket> {
        let content = self.sessions.unseal(PURPOSE, token)?;
        let ticket: Ticket = serde_json::from_slice(&content).ok()?;
        let is_fresh =
            ticket.issued_at >= self.since && now.0.saturating_sub(ticket.issued_at.0) <= TICKET_MS;
        if ticket.session != session || !is_fresh {
            return None;
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, at| now.0.saturating_sub(at.0) <= TICKET_MS);
        let is_first = opened
            .insert(ticket.session.clone(), ticket.issued_at)
            .is_none();
        is_first.then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(folder: &std::path::Path, now: i64) -> Channels {
        let sessions = Sessions::open(folder).unwrap();
        Channels::new(
            crate::model::Tx::for_test().config().clone(),
            sessions,
            Timestamp(now),
        )
    }

    fn ticket(session: &str, issued_at: i64) -> Ticket {
        Ticket {
            session: session.into(),
            task: "t".into(),
            container: "c".into(),
            command: vec!["sh".into()],
            issued_at: Timestamp(issued_at),
        }
    }

    #[test]
    fn a_ticket_opens_one_channel_soon_or_never() {
        let folder = tempfile::tempdir().unwrap();
        let channels = channels(folder.path(), 1000);
        let token = ticket("s-1", 2000).seal(&channels.sessions);
        let at = Timestamp;
        assert_eq!(channels.admit("s-2", &token, at(2000)), None);
        assert_eq!(channels.admit("s-1", "AAAA", at(2000)), None);
        assert!(channels.admit("s-1", &token, at(3000)).is_some());
        assert_eq!(channels.admit("s-1", &token, at(3001)), None);
        let late = ticket("s-3", 2000).seal(&channels.sessions);
        assert_eq!(channels.admit("s-3", &late, at(62_001)), None);
        let before = ticket("s-4", 999).seal(&channels.sessions);
        assert_eq!(channels.admit("s-4", &before, at(2000)), None);
    }
}

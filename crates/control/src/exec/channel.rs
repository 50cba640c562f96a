//! The agent's side of a data channel: sequence numbers, acknowledgements, what is sent again. Pure.
//!
//! <https://github.com/aws/session-manager-plugin> (src/datachannel/streaming.go): each direction counts its stream messages
//! from 0; each is acknowledged by itself; what comes too early is kept until its turn.

use std::collections::{BTreeMap, VecDeque};

use fogbank_wire::agent_message::{
    ACKNOWLEDGE, Acknowledgement, AgentMessage, CHANNEL_CLOSED, INPUT, OUTPUT, PayloadType,
    TERMINATE, TerminalSize, handshake_request, is_handshake_accepted, uuid,
};
use serde_json::json;

/// Of one message; the agent's own are smaller, and the plugin takes any.
pub const PAYLOAD_BYTES: usize = 8 << 10;
/// Messages on their way at most; the command waits for the client then.
const WINDOW: usize = 128;
/// Input that came too early.
const EARLY_MAX: usize = 512;
/// The WebSocket loses nothing, so only a client that has is asked again.
const RESEND_AFTER_MS: u64 = 3_000;
const RESENDS_MAX: u32 = 20;
const AGENT_VERSION: &str = "3.3.2299.0";

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A binary message for the client.
    Send(Vec<u8>),
    /// The client is one that was expected: the command may begin.
    Begin,
    Input(Vec<u8>),
    Resize(TerminalSize),
    /// The session is over.
    End,
}

struct Unacknowledged {
    sequence: i64,
    bytes: Vec<u8>,
    sent_ms: u64,
    resends: u32,
}

/// See the module.
pub struct Channel {
    session: String,
    /// Next of each direction.
    input: i64,
    output: i64,
    early: BTreeMap<i64, AgentMessage>,
    unacknowledged: VecDeque<Unacknowledged>,
    begun: bool,
    /// Ids of messages: any that differ.
    seed: u128,
}

impl Channel {
    pub fn new(session: &str, seed: u128) -> Self {
        Self {
            session: session.to_owned(),
            input: 0,
            output: 0,
            early: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            begun: false,
            seed,
        }
    }

    /// The first message: what the agent asks of the client.
    pub fn open(&mut self, now_ms: u64) -> Action {
        let request = handshake_request(AGENT_VERSION).to_string();
        self.stream(PayloadType::HandshakeRequest, request.into_bytes(), now_ms)
    }

    /// Whether the command's output may be read.
    pub fn has_room(&self) -> bool {
        self.unacknowledged.len() < WINDOW
    }

    /// The command's output.
    pub fn output(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Action> {
        bytes
            .chunks(PAYLOAD_BYTES)
            .map(|chunk| self.stream(PayloadType::Output, chunk.to_vec(), now_ms))
            .collect()
    }

    /// The command's end, for a client that knows what to do with it.
    pub fn exit_code(&mut self, code: i32, now_ms: u64) -> Action {
        self.stream(PayloadType::ExitCode, code.to_string().into_bytes(), now_ms)
    }

    /// The last message.
    pub fn close(&mut self, output: &str, now_ms: u64) -> Action {
        let id = self.id();
        let content = json!({
            "MessageType": CHANNEL_CLOSED,
            "MessageId": uuid(id),
            "CreatedDate": now_ms.to_string(),
            "SessionId": self.session,
            "SchemaVersion": 1,
            "Output": output,
        });
        let message = AgentMessage {
            message_type: CHANNEL_CLOSED.to_owned(),
            created_ms: now_ms,
            sequence: 0,
            flags: 0,
            id,
            payload_type: 0,
            payload: content.to_string().into_bytes(),
        };
        Action::Send(message.encode(now_ms))
    }

    fn id(&mut self) -> u128 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }

    fn stream(&mut self, payload_type: PayloadType, payload: Vec<u8>, now_ms: u64) -> Action {
        let id = self.id();
        let message = AgentMessage::stream(OUTPUT, payload_type, self.output, id, payload);
        let bytes = message.encode(now_ms);
        self.unacknowledged.push_back(Unacknowledged {
            sequence: self.output,
            bytes: bytes.clone(),
            sent_ms: now_ms,
            resends: 0,
        });
        self.output += 1;
        Action::Send(bytes)
    }

    /// A message of the client's. One that can't be read is left out: it was never acknowledged, so it comes again.
    pub fn heard(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Action> {
        let Ok(message) = AgentMessage::decode(bytes) else {
            return Vec::new();
        };
        match message.message_type.as_str() {
            ACKNOWLEDGE => {
                if let Ok(content) = serde_json::from_slice::<Acknowledgement>(&message.payload) {
                    self.unacknowledged
                        .retain(|sent| sent.sequence != content.sequence);
                }
                Vec::new()
            }
            INPUT => self.input(message, now_ms),
            _ => Vec::new(),
        }
    }

    fn input(&mut self, message: AgentMessage, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_early = message.sequence > self.input;
        if is_early && self.early.len() >= EARLY_MAX {
            return actions;
        }
        let acknowledgement = AgentMessage::acknowledgement(&message, self.id());
        actions.push(Action::Send(acknowledgement.encode(now_ms)));
        if is_early {
            self.early.insert(message.sequence, message);
            return actions;
        }
        // What came before comes again when its acknowledgement was lost.
        let mut next = (message.sequence == self.input).then_some(message);
        while let Some(message) = next {
            self.input += 1;
            self.take(&message, now_ms, &mut actions);
            next = self.early.remove(&self.input);
        }
        actions
    }

    fn take(&mut self, message: &AgentMessage, now_ms: u64, actions: &mut Vec<Action>) {
        let payload = &message.payload;
        if message.is(PayloadType::HandshakeResponse) && !self.begun {
            let response = serde_json::from_slice(payload).unwrap_or_default();
            if !is_handshake_accepted(&response) {
                actions.push(Action::End);
                return;
            }
            self.begun = true;
            let complete = json!({"HandshakeTimeToComplete": 0, "CustomerMessage": ""});
            let complete = complete.to_string().into_bytes();
            actions.push(self.stream(PayloadType::HandshakeComplete, complete, now_ms));
            actions.push(Action::Begin);
        } else if message.is(PayloadType::Output) && self.begun {
            actions.push(Action::Input(payload.clone()));
        } else if message.is(PayloadType::Size) {
            if let Ok(size) = serde_json::from_slice(payload) {
                actions.push(Action::Resize(size));
            }
        } else if message.is(PayloadType::Flag) {
            let flag = <[u8; 4]>::try_from(payload.as_slice()).map(u32::from_be_bytes);
            if flag.is_ok_and(|flag| flag == TERMINATE) {
                actions.push(Action::End);
            }
        }
    }

    /// What was not acknowledged in time; [`Action::End`] when that doesn't help.
    pub fn due(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for sent in &mut self.unacknowledged {
            if now_ms.saturating_sub(sent.sent_ms) < RESEND_AFTER_MS {
                continue;
            }
            if sent.resends >= RESENDS_MAX {
                return vec![Action::End];
            }
            sent.sent_ms = now_ms;
            sent.resends += 1;
            actions.push(Action::Send(sent.bytes.clone()));
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_wire::agent_message::handshake_response;

    fn input(sequence: i64, kind: PayloadType, payload: &[u8]) -> Vec<u8> {
        AgentMessage::stream(INPUT, kind, sequence, 1, payload.to_vec()).encode(0)
    }

    fn begun() -> Channel {
        let mut channel = Channel::new("s", 1);
        channel.open(0);
        let response = handshake_response("1.2").to_string();
        let answer = input(0, PayloadType::HandshakeResponse, response.as_bytes());
        let actions = channel.heard(&answer, 0);
        assert_eq!(actions.last(), Some(&Action::Begin));
        channel
    }

    /// Without what is sent.
    fn done(actions: Vec<Action>) -> Vec<Action> {
        let done = actions.into_iter();
        done.filter(|action| !matches!(action, Action::Send(_)))
            .collect()
    }

    fn sent(action: &Action) -> AgentMessage {
        match action {
            Action::Send(bytes) => AgentMessage::decode(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn acknowledge(channel: &mut Channel, message: &AgentMessage) {
        let bytes = AgentMessage::acknowledgement(message, 9).encode(0);
        assert_eq!(channel.heard(&bytes, 0), []);
    }

    #[test]
    fn input_is_taken_in_order_and_once() {
        let mut channel = begun();
        let typed = |text: &str| Action::Input(text.as_bytes().to_vec());
        let message = |sequence, text: &str| input(sequence, PayloadType::Output, text.as_bytes());
        assert_eq!(done(channel.heard(&message(3, "c"), 0)), []);
        assert_eq!(done(channel.heard(&message(2, "b"), 0)), []);
        let all = done(channel.heard(&message(1, "a"), 0));
        assert_eq!(all, [typed("a"), typed("b"), typed("c")]);
        // Again, as its acknowledgement was lost: acknowledged again, not typed again.
        let again = channel.heard(&message(2, "b"), 0);
        assert_eq!(again.len(), 1);
        assert_eq!(sent(&again[0]).message_type, ACKNOWLEDGE);
    }

    #[test]
    fn nothing_is_typed_before_the_handshake() {
        let mut channel = Channel::new("s", 1);
        channel.open(0);
        let early = input(0, PayloadType::Output, b"rm");
        assert_eq!(done(channel.heard(&early, 0)), []);
        let mut refused = handshake_response("1");
        refused["ProcessedClientActions"][0]["ActionStatus"] = 3.into();
        let answer = input(
            1,
            PayloadType::HandshakeResponse,
            refused.to_string().as_bytes(),
        );
        assert_eq!(done(channel.heard(&answer, 0)), [Action::End]);
    }

    #[test]
    fn sizes_and_the_end_are_understood() {
        let mut channel = begun();
        let size = input(1, PayloadType::Size, br#"{"cols":132,"rows":43}"#);
        let expected = TerminalSize {
            cols: 132,
            rows: 43,
        };
        assert_eq!(done(channel.heard(&size, 0)), [Action::Resize(expected)]);
        let end = input(2, PayloadType::Flag, &TERMINATE.to_be_bytes());
        assert_eq!(done(channel.heard(&end, 0)), [Action::End]);
    }

    #[test]
    fn output_waits_for_its_acknowledgement_and_is_sent_again_without() {
        let mut channel = begun();
        let actions = channel.output(&vec![7; PAYLOAD_BYTES + 1], 100);
        let messages: Vec<AgentMessage> = actions.iter().map(sent).collect();
        assert_eq!(
            messages.iter().map(|m| m.sequence).collect::<Vec<_>>(),
            [2, 3]
        );
        acknowledge(&mut channel, &messages[0]);
        let again: Vec<i64> = channel
            .due(100 + RESEND_AFTER_MS)
            .iter()
            .map(|action| sent(action).sequence)
            .collect();
        // The handshake's two messages were not acknowledged here either.
        assert_eq!(again, [0, 1, 3]);
        for turn in 2..=u64::from(RESENDS_MAX) {
            assert_eq!(channel.due(100 + turn * RESEND_AFTER_MS).len(), 3);
        }
        let last = 100 + u64::from(RESENDS_MAX + 1) * RESEND_AFTER_MS;
        assert_eq!(channel.due(last), [Action::End]);
    }

    #[test]
    fn a_client_that_acknowledges_nothing_stops_the_output() {
        let mut channel = begun();
        while channel.has_room() {
            channel.output(b"x", 0);
        }
        assert_eq!(channel.unacknowledged.len(), WINDOW);
    }
}

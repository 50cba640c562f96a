//! Messages of a Session Manager data channel, as AWS's session-manager-plugin and agent exchange them in binary
//! WebSocket messages: a head of fixed size with sequence number, id and digest, then the payload.
//! <https://github.com/aws/session-manager-plugin> (src/message)
//!
//! Used by control and by `fogbank exec`. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `HeaderLength` says: the offset of the payload's length.
const HEAD_BYTES: usize = 116;
const PAYLOAD_AT: usize = HEAD_BYTES + 4;
const TYPE_BYTES: usize = 32;

pub const INPUT: &str = "input_stream_data";
pub const OUTPUT: &str = "output_stream_data";
pub const ACKNOWLEDGE: &str = "acknowledge";
pub const CHANNEL_CLOSED: &str = "channel_closed";

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentMessage {
    pub message_type: String,
    pub created_ms: u64,
    pub sequence: i64,
    pub flags: u64,
    pub id: u128,
    pub payload_type: u32,
    pub payload: Vec<u8>,
}

/// What a payload is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PayloadType {
    Output = 1,
    Size = 3,
    HandshakeRequest = 5,
    HandshakeResponse = 6,
    HandshakeComplete = 7,
    Flag = 10,
    ExitCode = 12,
}

/// The value of a [`PayloadType::Flag`] that ends a session.
pub const TERMINATE: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("a message is shorter than its head")]
    Short,
    #[error("a message's payload is not what its digest says")]
    Digest,
}

fn digest(payload: &[u8]) -> ring::digest::Digest {
    ring::digest::digest(&ring::digest::SHA256, payload)
}

impl AgentMessage {
    /// Of the stream of a direction.
    pub fn stream(
        message_type: &str,
        payload_type: PayloadType,
        sequence: i64,
        id: u128,
        payload: Vec<u8>,
    ) -> Self {
        Self {
            message_type: message_type.to_owned(),
            created_ms: 0,
            sequence,
            flags: 0,
            id,
            payload_type: payload_type as u32,
            payload,
        }
    }

    /// That a message of a stream has come. Of no stream itself.
    pub fn acknowledgement(of: &AgentMessage, id: u128) -> Self {
        let content = Acknowledgement {
            message_type: of.message_type.clone(),
            message_id: uuid(of.id),
            sequence: of.sequence,
            is_sequential: true,
        };
        Self {
            message_type: ACKNOWLEDGE.to_owned(),
            created_ms: 0,
            sequence: 0,
            // As the plugin sets it: first and last of its kind.
            flags: 3,
            id,
            payload_type: 0,
            payload: serde_json::to_vec(&content).expect("only strings and numbers"),
        }
    }

    pub fn is(&self, payload_type: PayloadType) -> bool {
        self.payload_type == payload_type as u32
    }

    pub fn encode(&self, now_ms: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAYLOAD_AT + self.payload.len());
        bytes.extend((HEAD_BYTES as u32).to_be_bytes());
        let mut name = [b' '; TYPE_BYTES];
        let length = self.message_type.len().min(TYPE_BYTES);
        name[..length].copy_from_slice(&self.message_type.as_bytes()[..length]);
        bytes.extend(name);
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(now_ms.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        // The half that is less significant comes first.
        bytes.extend((self.id as u64).to_be_bytes());
        bytes.extend(((self.id >> 64) as u64).to_be_bytes());
        bytes.extend(digest(&self.payload).as_ref());
        bytes.extend(self.payload_type.to_be_bytes());
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let word = |at: usize| -> Result<u32, MessageError> {
            let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or(MessageError::Short)
        };
        let long = |at: usize| -> Result<u64, MessageError> {
            let bytes = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map(u64::from_be_bytes).ok_or(MessageError::Short)
        };
        let head = word(0)? as usize;
        let name = bytes.get(4..4 + TYPE_BYTES).ok_or(MessageError::Short)?;
        let name = String::from_utf8_lossy(name);
        let payload_at = head.checked_add(4).ok_or(MessageError::Short)?;
        let payload = bytes.get(payload_at..).ok_or(MessageError::Short)?;
        if head < HEAD_BYTES {
            return Err(MessageError::Short);
        }
        if !payload.is_empty() && bytes.get(80..112) != Some(digest(payload).as_ref()) {
            return Err(MessageError::Digest);
        }
        Ok(Self {
            message_type: name.trim_matches(['\0', ' ']).to_owned(),
            created_ms: long(40)?,
            sequence: long(48)?.cast_signed(),
            flags: long(56)?,
            id: u128::from(long(72)?) << 64 | u128::from(long(64)?),
            payload_type: word(112)?,
            payload: payload.to_vec(),
        })
    }
}

/// An id as text.
pub fn uuid(id: u128) -> String {
    let hex = format!("{id:032x}");
    let [a, b, c, d, e] = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// The payload of [`ACKNOWLEDGE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    #[serde(rename = "AcknowledgedMessageType")]
    pub message_type: String,
    #[serde(rename = "AcknowledgedMessageId")]
    pub message_id: String,
    #[serde(rename = "AcknowledgedMessageSequenceNumber")]
    pub sequence: i64,
    #[serde(rename = "IsSequentialMessage")]
    pub is_sequential: bool,
}

/// The first, textual message of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OpenDataChannel {
    pub message_schema_version: String,
    #[serde(default)]
    pub request_id: Option<String>,
    pub token_value: String,
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    pub client_version: Option<String>,
}

/// Columns and rows of a terminal: the payload of [`PayloadType::Size`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub cols: u32,
    pub rows: u32,
}

/// What the agent asks first: an interactive session with a terminal.
pub fn handshake_request(agent_version: &str) -> Value {
    serde_json::json!({
        "AgentVersion": agent_version,
        "RequestedClientActions": [
            {"ActionType": "SessionType", "ActionParameters": {"SessionType": "Standard_Stream", "Properties": null}},
        ],
    })
}

/// What a client answers to that.
pub fn handshake_response(client_version: &str) -> Value {
    serde_json::json!({
        "ClientVersion": client_version,
        "ProcessedClientActions": [
            {"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": null, "Error": ""},
        ],
        "Errors": [],
    })
}

/// Whether the client can do what it was asked.
pub fn is_handshake_accepted(response: &Value) -> bool {
    let actions = response["ProcessedClientActions"].as_array();
    actions.is_some_and(|actions| {
        actions
            .iter()
            .any(|action| action["ActionType"] == "SessionType" && action["ActionStatus"] == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of the plugin's own tests (src/message/messageparser_test.go), byte by byte.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 116];
        bytes.extend(b"input_stream_data               ");
        bytes.extend([0, 0, 0, 1]);
        bytes.extend([0, 0, 1, 0x5e, 0x0b, 0xd5, 0x50, 0x64]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([0; 8]);
        // dd01e56b-ff48-483e-a508-b5f073f31b16
        bytes.extend([0xa5, 0x08, 0xb5, 0xf0, 0x73, 0xf3, 0x1b, 0x16]);
        bytes.extend([0xdd, 0x01, 0xe5, 0x6b, 0xff, 0x48, 0x48, 0x3e]);
        bytes.extend(digest(b"payload").as_ref());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend([0, 0, 0, 7]);
        bytes.extend(b"payload");
        bytes
    }

    #[test]
    fn the_plugins_bytes_are_read_and_written() {
        let message = AgentMessage::decode(&sample()).unwrap();
        assert_eq!(uuid(message.id), "dd01e56b-ff48-483e-a508-b5f073f31b16");
        assert_eq!(
            (message.message_type.as_str(), message.sequence),
            (INPUT, 2)
        );
        assert!(message.is(PayloadType::Output));
        assert_eq!(message.encode(message.created_ms), sample());
    }

    #[test]
    fn damage_is_noticed() {
        let whole = sample();
        for length in 0..PAYLOAD_AT {
            assert_eq!(
                AgentMessage::decode(&whole[..length]),
                Err(MessageError::Short)
            );
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(AgentMessage::decode(&changed), Err(MessageError::Digest));
        let mut long = whole;
        long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(AgentMessage::decode(&long), Err(MessageError::Short));
    }

    #[test]
    fn an_acknowledgement_names_the_message() {
        let message = AgentMessage::decode(&sample()).unwrap();
        let answer = AgentMessage::acknowledgement(&message, 5);
        let content: Acknowledgement = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(content.message_id, "dd01e56b-ff48-483e-a508-b5f073f31b16");
        assert_eq!(
            (content.sequence, content.message_type.as_str()),
            (2, INPUT)
        );
    }

    #[test]
    fn a_handshake_is_accepted_by_its_client() {
        assert!(is_handshake_accepted(&handshake_response("1")));
        let mut refused = handshake_response("1");
        refused["ProcessedClientActions"][0]["ActionStatus"] = 2.into();
        assert!(!is_handshake_accepted(&refused));
    }
}

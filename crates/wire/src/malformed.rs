//! Why bytes are not a request: the decoders' error.

use crate::Protocol;

/// What a decoder refuses. It names the place, so that the caller's message can.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("the request is not UTF-8")]
    Utf8,
    #[error("{0}")]
    Syntax(String),
    #[error("the request has {0}")]
    TooLarge(&'static str),
    #[error("{0} stands twice")]
    Twice(String),
    /// A value that is not of its member's type.
    #[error("'{value}' at {path} is not {expected}")]
    Mistyped {
        path: String,
        value: String,
        expected: String,
    },
}

impl Malformed {
    pub(crate) fn not(path: &str, value: &str, expected: &str) -> Malformed {
        Malformed::Mistyped {
            path: path.to_owned(),
            value: shorten(value).into_owned(),
            expected: expected.to_owned(),
        }
    }

    /// AWS's code for it.
    pub fn code(&self, protocol: Protocol) -> &'static str {
        match (protocol, self) {
            (Protocol::Ec2Query, Malformed::Mistyped { .. }) => "InvalidParameterValue",
            (Protocol::Ec2Query, Malformed::Twice(_)) => "InvalidParameterCombination",
            (Protocol::Ec2Query, _) => "MalformedQueryString",
            (Protocol::AwsQuery, _) => "MalformedInput",
            (Protocol::RestXml, _) => "InvalidInput",
            (Protocol::AwsJson | Protocol::RpcV2Cbor, _) => "SerializationException",
        }
    }

    /// AWS's words for it, as far as they are known.
    pub fn message(&self, protocol: Protocol) -> String {
        match (protocol, self) {
            (
                Protocol::Ec2Query,
                Malformed::Mistyped {
                    path,
                    value,
                    expected,
                },
            ) => {
                let name = crate::validation::lower_first(path);
                format!("Value ({value}) for parameter {name} is invalid. Expected {expected}.")
            }
            (Protocol::RestXml, Malformed::Syntax(what)) => format!("Invalid XML ; {what}"),
            _ => self.to_string(),
        }
    }
}

/// At most some hundred characters of a caller's value, for messages.
pub(crate) fn shorten(value: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 400;
    match value.char_indices().nth(MOST) {
        None => value.into(),
        Some((at, _)) => format!("{}...", &value[..at]).into(),
    }
}

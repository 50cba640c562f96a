//! What a request that does not comply with RFC 7230 is, and what becomes of it: docs/decisions/0016-desync.md.
//! Used by `request` (classifies), `connection` (acts); pure.
//!
//! "Desync mitigation mode" and "Classification reasons", ELB guide (fact HTTP-11). What must stay true: in every
//! mode a target gets one framing, ours; a request whose end could be read in two ways is never followed by
//! another on its two connections; what has no reading at all is refused.

use super::log::{Classification, Reason};
use super::request::Refusal;
use super::table::DesyncMode;

/// What becomes of a request by its classification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    Allow,
    /// "Routes the requests but closes the client and target connections."
    AllowAndClose,
    Refuse,
}

/// For a request that can be read. Ambiguous ones cost their connections in monitor mode, too: AWS's keeps them.
pub fn treatment(mode: DesyncMode, reason: Option<Reason>) -> Treatment {
    let Some(reason) = reason else {
        return Treatment::Allow;
    };
    match (mode, reason.classification()) {
        (DesyncMode::Strictest, _) | (_, Classification::Severe) => Treatment::Refuse,
        // Two framings at once are what smuggling is made of (fact HTTP-11).
        (DesyncMode::Defensive, Classification::Ambiguous) if is_framed_twice(reason) => {
            Treatment::Refuse
        }
        (_, Classification::Ambiguous) => Treatment::AllowAndClose,
        (_, Classification::Acceptable) => Treatment::Allow,
    }
}

/// For a door that passes requests on byte for byte: whoever reads them next must find the same end.
pub fn may_pass_unchanged(reason: Option<Reason>) -> bool {
    reason.is_none_or(|reason| {
        reason.classification() == Classification::Acceptable && reason != Reason::SuspiciousHeader
    })
}

fn is_framed_twice(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BothTeClPresent | Reason::DuplicateContentLength
    )
}

/// The less compliant of two.
pub fn worse(one: Option<Reason>, other: Reason) -> Option<Reason> {
    match one {
        // Of two alike the one that says more of the framing.
        Some(one) if one.classification() == other.classification() && is_framed_twice(other) => {
            Some(other)
        }
        Some(one) if one.classification() >= other.classification() => Some(one),
        _ => Some(other),
    }
}

/// AWS's reason for a refusal of ours; None: it has nothing to do with compliance (a limit, a time-out).
pub fn reason_of(refusal: &Refusal) -> Option<Reason> {
    Some(match refusal.reason {
        "content length" => Reason::BadContentLength,
        "two content lengths" => Reason::MultipleContentLength,
        "two transfer encodings" => Reason::MultipleTransferEncodingChunked,
        "transfer encoding" => Reason::BadTransferEncoding,
        "transfer encoding in HTTP/1.0" => Reason::UndefinedTransferEncodingSemantics,
        "HTTP version" | "not an HTTP version" => Reason::BadVersion,
        "request line does not parse" | "request target" => Reason::BadUri,
        "method does not parse" => Reason::BadMethod,
        "header does not parse" | "bare LF" | "host" | "two hosts" => Reason::BadHeader,
        "chunked framing" => Reason::BadTransferEncoding,
        _ => return None,
    })
}

/// "There is a header that can be normalized to Transfer-Encoding or Content-Length using common text
/// normalization techniques": letters alone are compared, whatever stands between them.
pub fn is_suspicious(name: &str) -> bool {
    const NAMES: [&[u8]; 2] = [b"transferencoding", b"contentlength"];
    if !(13..=24).contains(&name.len()) {
        return false;
    }
    let letters = || {
        name.bytes()
            .filter(u8::is_ascii_alphabetic)
            .map(|byte| byte.to_ascii_lowercase())
    };
    NAMES
        .iter()
        .any(|known| letters().eq(known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_the_guide_but_for_what_cannot_be_read() {
        use DesyncMode::{Defensive, Monitor, Strictest};
        use Treatment::{Allow, AllowAndClose, Refuse};
        for (reason, monitor, defensive, strictest) in [
            (None, Allow, Allow, Allow),
            (Some(Reason::GetHeadZeroContentLength), Allow, Allow, Refuse),
            (Some(Reason::BothTeClPresent), AllowAndClose, Refuse, Refuse),
            (Some(Reason::MultipleContentLength), Refuse, Refuse, Refuse),
        ] {
            assert_eq!(treatment(Monitor, reason), monitor, "{reason:?}");
            assert_eq!(treatment(Defensive, reason), defensive, "{reason:?}");
            assert_eq!(treatment(Strictest, reason), strictest, "{reason:?}");
        }
    }

    #[test]
    fn names_that_could_pass_for_framing() {
        for name in [
            "Transfer_Encoding",
            "transfer--encoding",
            "TransferEncoding",
            "Content_Length",
            "Content.Length~",
        ] {
            assert!(is_suspicious(name), "{name}");
        }
        for name in [
            "Content-Lengths",
            "X-Content-Length",
            "Accept-Encoding",
            "Content-Language",
            "Transfer",
        ] {
            assert!(!is_suspicious(name), "{name}");
        }
    }

    #[test]
    fn the_worst_reason_is_told() {
        let ambiguous = worse(
            Some(Reason::UndefinedContentLengthSemantics),
            Reason::BothTeClPresent,
        );
        assert_eq!(worse(ambiguous, Reason::NonCompliantHeader), ambiguous);
        assert_eq!(
            worse(Some(Reason::NonCompliantHeader), Reason::EmptyHeader),
            Some(Reason::EmptyHeader)
        );
    }
}

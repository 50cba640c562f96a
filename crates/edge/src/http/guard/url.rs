//! Addresses of identity providers, and the forms that are sent to them. Used by `login`, `provider`, `fetch`; pure.

use std::fmt::Write;

/// `https://host[:port]/path?query`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// With the query.
    pub target: String,
}

impl Url {
    /// None: it is no address of a server that speaks HTTPS.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let rest = rest.split('#').next()?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains('@') || !text.bytes().all(is_graphic) {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            None | Some("") => 443,
            Some(port) => port.parse().ok()?,
        };
        let slash = if tail.starts_with('/') { "" } else { "/" };
        (!host.is_empty()).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
            target: format!("{slash}{tail}"),
        })
    }

    /// For the Host header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }
}

fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// Only what RFC 3986 reserves for nothing stands as it is.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `a=b&c=d`, encoded.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{}={}", encode(key), encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// The first value of a parameter, decoded. None: it is not there, or is no text.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('='));
    pairs.find_map(|pair| {
        let (key, value) = pair?;
        (decode(key)? == name).then(|| decode(value)).flatten()
    })
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = |host: &str, port, target: &str| {
            Some(Url {
                host: host.into(),
                port,
                target: target.into(),
            })
        };
        assert_eq!(
            Url::parse("https://Idp.example"),
            url("idp.example", 443, "/")
        );
        assert_eq!(
            Url::parse("https://idp:8443/a/b?c=d#e"),
            url("idp", 8443, "/a/b?c=d")
        );
        assert_eq!(Url::parse("https://idp?x"), url("idp", 443, "/?x"));
        assert_eq!(Url::parse("https://[::1]:1/"), url("::1", 1, "/"));
        for bad in [
            "http://a/",
            "https://",
            "https:///x",
            "https://a:x/",
            "https://a b/",
            "https://u@a/",
            "https://a/\r\nHost: b",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_decoded_once() {
        let query = "a=1&code=x%2Fy%2525+z&state=&bad=%f";
        assert_eq!(parameter(query, "code").as_deref(), Some("x/y%25 z"));
        assert_eq!(parameter(query, "state").as_deref(), Some(""));
        assert_eq!(parameter(query, "bad"), None);
        assert_eq!(parameter(query, "none"), None);
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let text = "a b&c=d/é?#%";
        let query = form(&[("k", text)]);
        assert_eq!(query, "k=a%20b%26c%3Dd%2F%C3%A9%3F%23%25");
        assert_eq!(parameter(&query, "k").as_deref(), Some(text));
    }
}

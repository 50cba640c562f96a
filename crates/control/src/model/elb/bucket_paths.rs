//! Names of buckets and of what is in them, where AWS takes them: trust stores and logs.
//!
//! The region has no S3 yet: a bucket is the folder `<data>/buckets/<bucket>`, an object a file in it (`crate::buckets`).
//! So a key must be a path that stays below its bucket.

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub fn is_bucket(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(plain)
        && end(name.bytes().next())
        && end(name.bytes().last())
        && !name.contains("..")
}

pub fn is_key(key: &str) -> bool {
    let part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 255
            && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    key.len() <= 1024 && key.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names_and_keys_stay_below() {
        for good in ["logs", "my.logs-1"] {
            assert!(is_bucket(good), "{good}");
        }
        for bad in [
            "", "ab", "..", "a..b", "Logs", "-logs", "logs/", "a_b", "../x",
        ] {
            assert!(!is_bucket(bad), "{bad}");
        }
        for good in ["a", "a/b.pem", "AWSLogs/0/..x"] {
            assert!(is_key(good), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\0b", "a\\b",
        ] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}

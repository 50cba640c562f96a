//! Buckets, until the region has S3: the folder `<data>/buckets/<bucket>` is one, the files below it are its objects.
//!
//! Trust stores read bundles here and load balancers write logs here. Called by `api::elbv2`. Names are checked by
//! `model::elb::bucket_paths`, so that nothing outside the folder is ever touched.

use crate::model::elb::bucket_paths::{is_bucket, is_key};
use fogbank_types::RegionConfig;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    #[error("no object '{key}' in bucket '{bucket}'")]
    NotFound { bucket: String, key: String },
    #[error("the object '{key}' in bucket '{bucket}' is larger than {most} bytes")]
    TooLarge {
        bucket: String,
        key: String,
        most: usize,
    },
    #[error("use object '{key}' in bucket '{bucket}'")]
    File {
        bucket: String,
        key: String,
        source: std::io::Error,
    },
}

fn path(config: &RegionConfig, bucket: &str, key: &str) -> Result<PathBuf, BucketError> {
    if is_bucket(bucket) && is_key(key) {
        Ok(config.data_dir.join("buckets").join(bucket).join(key))
    } else {
        Err(not_found(bucket, key))
    }
}

fn not_found(bucket: &str, key: &str) -> BucketError {
    BucketError::NotFound {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    }
}

fn failed<'a>(bucket: &'a str, key: &'a str) -> impl Fn(std::io::Error) -> BucketError + 'a {
    move |source| BucketError::File {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        source,
    }
}

/// The object, which may have so many bytes at most.
pub fn read(
    config: &RegionConfig,
    bucket: &str,
    key: &str,
    most: usize,
) -> Result<Vec<u8>, BucketError> {
    let path = path(config, bucket, key)?;
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(not_found(bucket, key));
        }
        Err(error) => return Err(failed(bucket, key)(error)),
    };
    if !file.metadata().map_err(failed(bucket, key))?.is_file() {
        return Err(not_found(bucket, key));
    }
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(failed(bucket, key))?;
    if bytes.len() > most {
        return Err(BucketError::TooLarge {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            most,
        });
    }
    Ok(bytes)
}

/// Puts the object, in one step; makes the bucket if it isn't there.
pub fn write(
    config: &RegionConfig,
    bucket: &str,
    key: &str,
    bytes: &[u8],
) -> Result<PathBuf, BucketError> {
    let path = path(config, bucket, key)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(failed(bucket, key))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&fresh, bytes).map_err(failed(bucket, key))?;
    std::fs::rename(&fresh, &path).map_err(failed(bucket, key))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;

    fn region() -> (RegionConfig, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RegionConfig::clone(&test_config());
        config.data_dir = folder.path().to_owned();
        (config, folder)
    }

    #[test]
    fn what_was_put_is_read() {
        let (config, _folder) = region();
        write(&config, "bundles", "a/ca.pem", b"one").unwrap();
        write(&config, "bundles", "a/ca.pem", b"two").unwrap();
        assert_eq!(read(&config, "bundles", "a/ca.pem", 3).unwrap(), b"two");
        let long = read(&config, "bundles", "a/ca.pem", 2);
        assert!(matches!(long, Err(BucketError::TooLarge { .. })));
    }

    #[test]
    fn nothing_outside_is_found() {
        let (config, folder) = region();
        std::fs::write(folder.path().join("secret"), b"x").unwrap();
        std::fs::create_dir_all(folder.path().join("buckets/bundles/dir")).unwrap();
        for (bucket, key) in [
            ("bundles", "../../secret"),
            ("..", "secret"),
            ("bundles", "none"),
            ("bundles", "dir"),
            ("none", "a"),
        ] {
            let found = read(&config, bucket, key, 10);
            assert!(
                matches!(found, Err(BucketError::NotFound { .. })),
                "{bucket} {key}"
            );
        }
        assert!(write(&config, "bundles", "../x", b"").is_err());
    }
}

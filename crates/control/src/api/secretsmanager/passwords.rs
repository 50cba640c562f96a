//! Random passwords.

use crate::api::{ApiError, Context};
use crate::model::secretsmanager::passwords::{Options, generate};
use fogbank_wire::secretsmanager as wire;
use std::fs::File;
use std::io::Read;

pub fn random(
    _context: &Context,
    input: wire::GetRandomPasswordRequest,
) -> Result<wire::GetRandomPasswordResponse, ApiError> {
    let options = Options {
        length: input.password_length,
        exclude_characters: input.exclude_characters.unwrap_or_default(),
        exclude_lowercase: input.exclude_lowercase == Some(true),
        exclude_uppercase: input.exclude_uppercase == Some(true),
        exclude_numbers: input.exclude_numbers == Some(true),
        exclude_punctuation: input.exclude_punctuation == Some(true),
        include_space: input.include_space == Some(true),
        require_each: input.require_each_included_type,
    };
    // Whoever keeps a password must not be able to work it out from another: the operating system's own random bytes.
    const BYTES: usize = 128 * 1024;
    let mut bytes = Vec::with_capacity(BYTES);
    File::open("/dev/urandom")
        .and_then(|source| source.take(BYTES as u64).read_to_end(&mut bytes))
        .map_err(|error| {
            tracing::error!(%error, "/dev/urandom cannot be read");
            ApiError::new(
                "InternalServiceError",
                "An error occurred on the server side.",
            )
            .with_status(500)
        })?;
    let mut drawn = bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes")));
    // 64 bits for a choice among fewer than 5,000: what the remainder favours is beyond notice. Two draws a character
    // of the longest password are within the bytes.
    let below = |limit: usize| (drawn.next().unwrap_or_default() % limit as u64) as usize;
    Ok(wire::GetRandomPasswordResponse {
        random_password: Some(generate(&options, below)?),
    })
}

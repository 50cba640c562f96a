//! Random passwords.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html>

use super::{Refusal, invalid};

const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub length: Option<i64>,
    pub exclude_characters: String,
    pub exclude_lowercase: bool,
    pub exclude_uppercase: bool,
    pub exclude_numbers: bool,
    pub exclude_punctuation: bool,
    pub include_space: bool,
    /// At least one character of each type, unless told otherwise.
    pub require_each: Option<bool>,
}

/// `below` draws a number less than its argument.
pub fn generate(
    options: &Options,
    mut below: impl FnMut(usize) -> usize,
) -> Result<String, Refusal> {
    const LENGTH_UNLESS_SAID: i64 = 32;
    let types = [
        (options.exclude_lowercase, "abcdefghijklmnopqrstuvwxyz"),
        (options.exclude_uppercase, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (options.exclude_numbers, "0123456789"),
        (options.exclude_punctuation, PUNCTUATION),
        (!options.include_space, " "),
    ];
    let types: Vec<Vec<char>> = types
        .into_iter()
        .filter(|(excluded, _)| !excluded)
        .map(|(_, all)| {
            let kept = |letter: &char| !options.exclude_characters.contains(*letter);
            all.chars().filter(kept).collect()
        })
        .collect();
    let all: Vec<char> = types.concat();
    if all.is_empty() {
        return Err(invalid(
            "All of the possible characters are excluded: there is none to make a password of.",
        ));
    }
    let length = usize::try_from(options.length.unwrap_or(LENGTH_UNLESS_SAID)).unwrap_or_default();
    let mut password = Vec::with_capacity(length);
    if options.require_each.unwrap_or(true) {
        // "at least one upper and lowercase letter, one number, and one punctuation" (API reference): no space.
        let required = &types[..types.len() - usize::from(options.include_space)];
        if required.iter().any(Vec::is_empty) {
            return Err(invalid(
                "You can't exclude all characters of a type that the password must include.",
            ));
        }
        if length < required.len() {
            return Err(invalid(format!(
                "Password length {length} is too short based on the required types."
            )));
        }
        password.extend(required.iter().map(|letters| letters[below(letters.len())]));
    }
    while password.len() < length {
        password.push(all[below(all.len())]);
    }
    // The required ones shall not be the first ones.
    for at in (1..password.len()).rev() {
        password.swap(at, below(at + 1));
    }
    Ok(password.into_iter().collect())
}

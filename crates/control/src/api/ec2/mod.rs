//! See docs/architecture.md.

pub fn handlers() -> Vec<super::Handler> {
    Vec::new()
}

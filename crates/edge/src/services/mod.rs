//! The doors to AWS's services inside the region's network: where a task reaches the API as it would AWS's public
//! endpoints or an interface endpoint, by HTTP and by TLS of the region's own authority.
//!
//! Rows go `process` -> `doors` -> `listeners`; bytes go `listeners` -> `exchange` (which asks `admission` for each
//! request) -> the API's endpoint. `doors`, `admission` and `refusal` are pure. Nothing here has state but the
//! authority's key and certificate in the data folder (decisions 9 and 13).

mod admission;
mod doors;
mod exchange;
mod leaves;
mod listeners;
mod process;
mod refusal;
mod responses;

pub use process::{ServicesError, run, serve};

#[cfg(test)]
mod tests;

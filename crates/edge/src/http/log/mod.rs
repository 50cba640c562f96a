//! What a node writes down: a line for each request, connection and health check, in AWS's formats, in gzip
//! files where AWS would put objects. `record` holds what is known of a request while it runs, `line` writes it
//! as text, `ring` takes lines without waiting, `writer` is the thread that makes files of them, and `gzip`
//! makes them small.
//!
//! What must stay true: nothing is recorded or allocated while a log is off, and no request ever waits for a
//! disk. Lines that find no room are dropped, counted and told.
//!
//! "Access logs", "Connection logs" and "Health check logs for your Application Load Balancer", ELB guide.

mod gzip;
mod line;
mod record;
mod ring;
mod writer;

pub use line::Place;
#[cfg(test)]
pub use line::write_access;
pub use record::{
    Classification, ClientCertificate, ConnectionRecord, HealthCheckRecord, Kind, LogRecord,
    Reason, TransformStatus,
};
pub use ring::{Home, Logs};

mod answers;
pub mod fixture;
mod wire;

mod answers;
pub(crate) mod fixture;
pub(crate) mod kernel;
mod lookup;
mod mirror;
mod outside;
mod packets;
mod services;
mod wire;

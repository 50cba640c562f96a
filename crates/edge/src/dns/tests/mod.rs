mod answers;
mod fixture;
mod kernel;
mod lookup;
mod mirror;
mod outside;
mod packets;
mod wire;

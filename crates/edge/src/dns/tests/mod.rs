mod answers;
mod fixture;
mod kernel;
mod lookup;
mod outside;
mod packets;
mod wire;

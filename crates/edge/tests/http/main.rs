//! The load balancer over real sockets on loopback: clients that write bytes by hand, origins that answer by
//! script.

mod bed;
mod decisions;
mod errors;
mod forwarding;
mod grpc;
mod guards;
mod h2;
mod h2_frames;
mod h2_targets;
mod haproxy;
mod health;
mod logs;
mod mesh;
mod openssl;
mod pki;
mod process;
mod provider;
mod splice;
mod tables;
mod tls;
mod web_sockets;

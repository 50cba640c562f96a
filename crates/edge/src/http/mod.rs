//! The Application Load Balancer node: one process, one ENI, one zone. Tables in, sockets out.

//! DNS: public zones and the resolver of each VPC.

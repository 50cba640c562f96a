//! Types of records: their names and numbers (IANA's DNS parameters).

use std::fmt;

/// A record type.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

macro_rules! kinds {
    ($($name:ident = $number:literal;)*) => {
        impl Kind {
            $(pub const $name: Kind = Kind($number);)*

            /// By the name that Route 53 uses (fact DNS-5).
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Kind(other) => write!(f, "TYPE{other}"),
                }
            }
        }
    };
}

kinds! {
    A = 1;
    NS = 2;
    CNAME = 5;
    SOA = 6;
    PTR = 12;
    MX = 15;
    TXT = 16;
    AAAA = 28;
    SRV = 33;
    NAPTR = 35;
    OPT = 41;
    DS = 43;
    RRSIG = 46;
    NSEC = 47;
    DNSKEY = 48;
    SSHFP = 44;
    TLSA = 52;
    SVCB = 64;
    HTTPS = 65;
    SPF = 99;
    IXFR = 251;
    AXFR = 252;
    ANY = 255;
    CAA = 257;
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

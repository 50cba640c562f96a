//! What the region's name server answers: TestDNSAnswer asks it, by the wire, as a resolver would.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_TestDNSAnswer.html>
//!
//! The resolver's place is told as a client subnet (RFC 7871), which is what the server goes by.

use super::bare;
use crate::api::{ApiError, Context};
use crate::model::route53::{Refusal, invalid, names, values, zones};
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::name::Name;
use domain::base::opt::ClientSubnet;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, ParsedName};
use domain::rdata::ZoneRecordData;
use fogbank_wire::route53::{TestDNSAnswerRequest, TestDNSAnswerResponse};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// The region's own server, on this host.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
const UDP_BYTES: u16 = 1232;

/// Of a client subnet whose mask is not given.
const V4_MASK: u8 = 24;
const V6_MASK: u8 = 64;

pub fn test(
    context: &Context,
    input: TestDNSAnswerRequest,
) -> Result<TestDNSAnswerResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let zone = zones::find(&snapshot, &scope, bare(&input.hosted_zone_id))?;
    if zone.private {
        return Err(invalid("Only public hosted zones can be queried").into());
    }
    let name = names::canonical(&input.record_name)
        .map_err(|error| invalid(format!("RecordName '{}': {error}", input.record_name)))?;
    if !names::is_within(&name, &zone.name) {
        return Err(invalid(format!("{name} does not lie within {}", zone.name)).into());
    }
    let kind: Rtype = input.record_type.parse().map_err(|_| {
        invalid(format!(
            "The record type '{}' is not valid",
            input.record_type
        ))
    })?;
    let subnet = subnet(&input)?;
    let question = question(&name, kind, subnet).map_err(invalid)?;
    let (answer, protocol) = ask(context.config().dns, &question).map_err(|error| {
        let text = format!("The region's name server does not answer: {error}");
        ApiError::new("ServiceUnavailable", text).with_status(503)
    })?;
    let told = read(&answer, kind).ok_or_else(|| {
        let text = "The region's name server gave an answer that is none";
        ApiError::new("InternalFailure", text).with_status(500)
    })?;
    Ok(TestDNSAnswerResponse {
        nameserver: zone.name_servers.first().cloned().unwrap_or_default(),
        protocol: protocol.to_owned(),
        record_data: told.values,
        record_name: name,
        record_type: input.record_type,
        response_code: told.code,
    })
}

/// For whom is asked: the client subnet, or else the resolver itself.
fn subnet(input: &TestDNSAnswerRequest) -> Result<Option<ClientSubnet>, Refusal> {
    let address = |what: &str, text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| invalid(format!("{what} '{text}' is not an IP address")))
    };
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let Some(text) = &input.edns0_client_subnet_ip else {
        if input.edns0_client_subnet_mask.is_some() {
            return Err(invalid(
                "EDNS0ClientSubnetMask must be specified together with EDNS0ClientSubnetIP",
            ));
        }
        let resolver = input.resolver_ip.as_deref();
        let resolver = resolver
            .map(|text| address("ResolverIP", text))
            .transpose()?;
        return Ok(resolver.map(|resolver| ClientSubnet::new(bits(resolver), 0, resolver)));
    };
    let client = address("EDNS0ClientSubnetIP", text)?;
    let mask = match &input.edns0_client_subnet_mask {
        None if client.is_ipv4() => V4_MASK,
        None => V6_MASK,
        Some(text) => text
            .parse::<u8>()
            .ok()
            .filter(|mask| *mask <= bits(client))
            .ok_or_else(|| invalid(format!("EDNS0ClientSubnetMask '{text}' is not valid")))?,
    };
    Ok(Some(ClientSubnet::new(mask, 0, client)))
}

const ID: u16 = 0x5353;

fn question(name: &str, kind: Rtype, subnet: Option<ClientSubnet>) -> Result<Vec<u8>, String> {
    let name: Name<Vec<u8>> =
        Name::vec_from_str(&values::decimal_escapes(name)).map_err(|error| error.to_string())?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(ID);
    let mut builder = builder.question();
    let pushed = builder.push((name, kind, Class::IN));
    pushed.map_err(|error| error.to_string())?;
    let mut builder = builder.additional();
    let pushed = builder.opt(|opt| {
        opt.set_udp_payload_size(UDP_BYTES);
        subnet.map_or(Ok(()), |subnet| opt.push(&subnet))
    });
    pushed.map_err(|error| error.to_string())?;
    Ok(builder.finish())
}

/// By UDP, and by TCP if the answer has no room there.
fn ask(server: SocketAddr, question: &[u8]) -> std::io::Result<(Vec<u8>, &'static str)> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; u16::MAX as usize];
    let mut last = None;
    for _ in 0..ATTEMPTS {
        socket.send(question)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = buffer[..length].to_vec();
                let cut = Message::from_octets(&answer).is_ok_and(|m| m.header().tc());
                return match cut {
                    true => Ok((ask_by_tcp(server, question)?, "TCP")),
                    false => Ok((answer, "UDP")),
                };
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::TimedOut.into()))
}

fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

struct Told {
    code: String,
    values: Vec<String>,
}

fn read(answer: &[u8], kind: Rtype) -> Option<Told> {
    let message = Message::from_octets(answer).ok()?;
    if message.header().id() != ID || !message.header().qr() {
        return None;
    }
    let code = match message.header().rcode() {
        Rcode::NOERROR => "NOERROR".to_owned(),
        Rcode::NXDOMAIN => "NXDOMAIN".to_owned(),
        Rcode::SERVFAIL => "SERVFAIL".to_owned(),
        Rcode::REFUSED => "REFUSED".to_owned(),
        other => other.to_string(),
    };
    let section = message.answer().ok()?;
    let records = section.limit_to::<ZoneRecordData<_, ParsedName<_>>>();
    let mut values = Vec::new();
    for record in records {
        let record = record.ok()?;
        // A CNAME that leads out of the zone is the answer to every type.
        if record.rtype() == kind || record.rtype() == Rtype::CNAME {
            let text = record
                .data()
                .display_zonefile(DisplayKind::Simple)
                .to_string();
            values.push(values::octal_escapes(&text));
        }
    }
    Some(Told { code, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::Ttl;
    use domain::base::iana::OptionCode;
    use domain::rdata::{A, Txt};

    #[test]
    fn a_question_tells_for_whom_it_is() {
        let input = |client: Option<&str>, mask: Option<&str>, resolver: Option<&str>| {
            subnet(&TestDNSAnswerRequest {
                edns0_client_subnet_ip: client.map(str::to_owned),
                edns0_client_subnet_mask: mask.map(str::to_owned),
                resolver_ip: resolver.map(str::to_owned),
                ..Default::default()
            })
        };
        let told = |subnet: Option<ClientSubnet>| {
            subnet.map(|s| format!("{}/{}", s.addr(), s.source_prefix_len()))
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(told(input(None, None, None).unwrap()), None);
        let both = input(Some("203.0.113.9"), None, Some("192.0.2.1")).unwrap();
        assert_eq!(told(both), is("203.0.113.0/24"));
        assert_eq!(
            told(input(None, None, Some("192.0.2.1")).unwrap()),
            is("192.0.2.1/32")
        );
        let six = input(Some("2001:db8::1"), Some("48"), None).unwrap();
        assert_eq!(told(six), is("2001:db8::/48"));
        for (client, mask, resolver) in [
            (Some("x"), None, None),
            (Some("192.0.2.1"), Some("33"), None),
            (None, Some("24"), None),
            (None, None, Some("x")),
        ] {
            assert!(input(client, mask, resolver).is_err());
        }
        let packet = question("\\052.example.test.", Rtype::A, both).unwrap();
        let message = Message::from_octets(packet).unwrap();
        let asked = message.sole_question().unwrap();
        assert_eq!(asked.qname().to_string(), "*.example.test");
        let opt = message.opt().unwrap();
        assert!(opt.opt().iter::<ClientSubnet>().next().is_some());
        assert_eq!(OptionCode::CLIENT_SUBNET.to_int(), 8);
    }

    #[test]
    fn an_answers_values_are_as_records_write_them() {
        let name: Name<Vec<u8>> = Name::vec_from_str("a.example.test").unwrap();
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(ID);
        builder.header_mut().set_qr(true);
        let mut answer = builder.answer();
        let ttl = Ttl::from_secs(60);
        answer
            .push((&name, Class::IN, ttl, A::from_octets(192, 0, 2, 1)))
            .unwrap();
        let text: Txt<Vec<u8>> = Txt::build_from_slice(b"say \"hi\"\x01").unwrap();
        answer.push((&name, Class::IN, ttl, text)).unwrap();
        let packet = answer.finish();
        let told = |kind| read(&packet, kind).unwrap().values;
        assert_eq!(told(Rtype::A), ["192.0.2.1"]);
        assert_eq!(told(Rtype::TXT), ["\"say \\\"hi\\\"\\001\""]);
        assert!(read(&packet[..5], Rtype::A).is_none());
    }

    #[test]
    fn a_server_that_is_silent_is_told() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = silent.local_addr().unwrap();
        drop(silent);
        assert!(ask(at, b"x").is_err());
    }
}

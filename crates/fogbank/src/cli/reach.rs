//! `fogbank reach`: whether a packet gets through and what lets it or stops it, hop by hop.

use super::{ReachArguments, region, show};
use anyhow::{Context, Result, bail};
use fogbank_net::compile;
use fogbank_net::explain::{Answer, Party, Question, explain, traffic};
use fogbank_types::Snapshot;
use fogbank_types::diagnosis::{Decision, PathHop};
use fogbank_types::ec2::EniOwner;
use std::fmt::Write as _;

/// Ends the process with 1 if the packet does not get through, and with 2 if the question cannot be asked.
pub fn run(arguments: &ReachArguments) -> Result<()> {
    match ask(arguments) {
        Ok(true) => Ok(()),
        // The answer was given; it is no failure of this program.
        Ok(false) => std::process::exit(1),
        Err(error) => {
            eprintln!("fogbank: {error:#}");
            std::process::exit(2)
        }
    }
}

fn ask(arguments: &ReachArguments) -> Result<bool> {
    let (destination, port) = split_port(&arguments.destination)?;
    let (protocol, detail) = packet_kind(&arguments.protocol, port)?;
    let config = region::config(&arguments.region)?;
    let snapshot = region::snapshot(&config)?;
    let from = Party::find(&snapshot, &arguments.source)?;
    let to = Party::find(&snapshot, destination)?;
    let question = Question::new(&snapshot, &config, &from, &to, protocol, detail)?;
    let program = compile(&snapshot, &config);
    let answer = explain(&snapshot, &config, &program, &question);
    if arguments.json {
        let json = serde_json::json!({
            "reachable": answer.reachable,
            "source": answer.packet.source,
            "destination": answer.packet.destination,
            "protocol": answer.packet.protocol,
            "forward": answer.forward,
            "back": answer.back,
            "explanations": answer.explanations,
        });
        show(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
    } else {
        show(&text(&snapshot, &answer))?;
    }
    Ok(answer.reachable)
}

/// `10.0.1.5:80`, `[2001:db8::1]:80`, `task:80`; an IPv6 address without brackets and an ARN have no port.
fn split_port(text: &str) -> Result<(&str, Option<u16>)> {
    let bad = || format!("'{text}': a port is a number from 0 to 65535");
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest
            .split_once(']')
            .with_context(|| format!("'{text}' lacks a ]"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, Some(port.parse().with_context(bad)?))),
            None if after.is_empty() => Ok((address, None)),
            None => bail!("'{text}': a port follows [address]:"),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.contains(':')
                || host.starts_with("arn:") && port.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok((host, Some(port.parse().with_context(bad)?)))
        }
        _ => Ok((text, None)),
    }
}

/// Protocol number, and port or ICMP type * 256 + code.
fn packet_kind(protocol: &str, port: Option<u16>) -> Result<(u8, u16)> {
    let needs_port = || port.with_context(|| format!("{protocol} needs a port: DESTINATION:PORT"));
    match protocol {
        "tcp" | "6" => Ok((6, needs_port()?)),
        "udp" | "17" => Ok((17, needs_port()?)),
        // Echo request.
        "icmp" | "1" => Ok((1, 8 << 8)),
        "icmpv6" | "58" => Ok((58, 128 << 8)),
        other => {
            let number = other.parse().with_context(|| {
                format!("--protocol {other}: tcp, udp, icmp or a number up to 255")
            })?;
            Ok((number, 0))
        }
    }
}

fn text(snapshot: &Snapshot, answer: &Answer) -> String {
    let packet = answer.packet;
    let kind = traffic(packet);
    let verdict = if answer.reachable {
        "reachable"
    } else {
        "NOT reachable"
    };
    let mut out = format!(
        "{} -> {} {kind}: {verdict}\n",
        packet.source, packet.destination
    );
    for hop in &answer.forward {
        line(&mut out, snapshot, hop);
    }
    if !answer.back.is_empty() {
        out.push_str("and back\n");
        for hop in &answer.back {
            line(&mut out, snapshot, hop);
        }
    }
    for explanation in &answer.explanations {
        let _ = writeln!(out, "  x {}: {}", explanation.code, explanation.text);
        if let Some(remedy) = &explanation.remedy {
            let _ = writeln!(out, "    this would open it: {remedy}");
        }
    }
    out
}

fn line(out: &mut String, snapshot: &Snapshot, hop: &PathHop) {
    let what = match &hop.decided_by {
        None => place(snapshot, &hop.component.id),
        Some(Decision::GroupRule {
            rule_id, egress, ..
        }) => {
            let side = if *egress { "egress" } else { "ingress" };
            format!("{side} rule {rule_id}")
        }
        Some(Decision::AclEntry {
            number,
            egress,
            allow,
            ..
        }) => {
            let side = if *egress { "outbound" } else { "inbound" };
            let verdict = if *allow { "allows" } else { "denies" };
            format!("{side} rule {number} {verdict}")
        }
        Some(Decision::Route {
            destination,
            target,
            ..
        }) => format!("{destination} -> {target}"),
        Some(Decision::Established) => "an open connection".to_owned(),
    };
    let _ = writeln!(out, "  {:<26} {what}", hop.component.id);
}

/// Who has an interface, or nothing.
fn place(snapshot: &Snapshot, id: &str) -> String {
    let eni = snapshot.enis.all().find(|eni| eni.eni_id == *id);
    eni.map_or_else(String::new, |eni| {
        let user = match &eni.owner {
            EniOwner::Caller => "interface".to_owned(),
            EniOwner::Task(arn) => format!("task {}", arn.rsplit('/').next().unwrap_or(arn)),
            EniOwner::LoadBalancer(arn) => {
                format!("load balancer {}", arn.split('/').nth(2).unwrap_or(arn))
            }
            EniOwner::NatGateway(id) => id.to_string(),
            EniOwner::VpcEndpoint(id) => id.to_string(),
        };
        format!("{user}, {} in {}", eni.private_ip, eni.zone)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_follows_the_last_colon_of_what_is_no_address() {
        let good = [
            ("10.0.1.5:80", ("10.0.1.5", Some(80))),
            ("10.0.1.5", ("10.0.1.5", None)),
            ("[2001:db8::1]:443", ("2001:db8::1", Some(443))),
            ("2001:db8::1", ("2001:db8::1", None)),
            (
                "eni-0123456789abcdef0:65535",
                ("eni-0123456789abcdef0", Some(65_535)),
            ),
            ("internet", ("internet", None)),
        ];
        for (text, expected) in good {
            assert_eq!(split_port(text).unwrap(), expected, "{text}");
        }
        for text in [
            "10.0.1.5:",
            "10.0.1.5:65536",
            "10.0.1.5:http",
            "[2001:db8::1",
            "[::1]80",
        ] {
            assert!(split_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tcp_needs_a_port_and_icmp_none() {
        assert!(packet_kind("tcp", None).is_err());
        assert_eq!(packet_kind("icmp", None).unwrap(), (1, 2048));
        assert_eq!(packet_kind("47", None).unwrap(), (47, 0));
        assert!(packet_kind("256", None).is_err());
    }
}

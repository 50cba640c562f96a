//! Messages: queries read, responses written, and responses of others read (RFC 1035, section 4; RFC 6891).
//!
//! Called by `responder` and `forward` with bytes from anybody. What must stay true: no packet makes it panic,
//! loop or allocate more than a message's size; the question goes back byte for byte, in the asker's case.

use super::asker::Subnet;
use super::cookies::{self, Cookie};
use super::kind::Kind;
use super::name::Name;
use super::tables::{Answer, Code, Record};

pub const HEADER_BYTES: usize = 12;
/// Largest response over UDP, whatever the asker offers: fits every path without fragments (DNS flag day 2020).
pub const MAX_UDP_BYTES: usize = 1232;
/// Without EDNS.
pub const PLAIN_UDP_BYTES: usize = 512;
/// Over TCP.
pub const MAX_TCP_BYTES: usize = u16::MAX as usize;
const OPT_BYTES: usize = 11;
/// The option that pads (RFC 7830).
const PADDING: u16 = 12;
const QUESTION_BLOCK: usize = 128;
/// RFC 7871, section 6.
const CLIENT_SUBNET: u16 = 8;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;
const OPCODE: u16 = 0x7800;

/// A question that can be answered.
#[derive(Clone, Debug)]
pub struct Query {
    pub id: u16,
    flags: u16,
    /// As it came.
    question: Vec<u8>,
    pub name: Name,
    pub kind: Kind,
    pub class_in: bool,
    pub edns: Option<Edns>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    pub udp_bytes: u16,
    pub version: u8,
    pub dnssec_ok: bool,
    pub subnet: Option<Subnet>,
    /// As it came; `responder` puts in what the asker gets.
    pub cookie: Option<Cookie>,
}

/// Why a packet gets no answer proper.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// Too short to know whom to answer, or a response: answering it could go on for ever.
    Drop,
    /// Answered by a header alone.
    Refuse { id: u16, flags: u16, code: Code },
}

impl Query {
    pub fn read(packet: &[u8]) -> Result<Self, Unanswerable> {
        let (id, flags) = match (word(packet, 0), word(packet, 2)) {
            (Some(id), Some(flags)) if packet.len() >= HEADER_BYTES => (id, flags),
            _ => return Err(Unanswerable::Drop),
        };
        if flags & RESPONSE != 0 {
            return Err(Unanswerable::Drop);
        }
        let refuse = |code| Unanswerable::Refuse { id, flags, code };
        if flags & OPCODE != 0 {
            return Err(refuse(Code::NotImp));
        }
        read_question(packet, id, flags).ok_or(refuse(Code::FormErr))
    }

    pub fn recursion_desired(&self) -> bool {
        self.flags & RECURSION_DESIRED != 0
    }

    /// Whether the asker takes signatures (the DO bit, RFC 3225).
    pub fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// How long a response over UDP may be.
    pub fn udp_limit(&self) -> usize {
        match self.edns {
            None => PLAIN_UDP_BYTES,
            Some(edns) => usize::from(edns.udp_bytes).clamp(PLAIN_UDP_BYTES, MAX_UDP_BYTES),
        }
    }
}

fn read_question(packet: &[u8], id: u16, flags: u16) -> Option<Query> {
    if word(packet, 4)? != 1 {
        return None;
    }
    let (name, length) = Name::read(packet.get(HEADER_BYTES..)?)?;
    let mut at = HEADER_BYTES + length;
    let kind = Kind(word(packet, at)?);
    let class = word(packet, at + 2)?;
    at += 4;
    let question = packet.get(HEADER_BYTES..at)?.to_vec();
    let mut edns = None;
    let skipped = usize::from(word(packet, 6)?) + usize::from(word(packet, 8)?);
    for n in 0..skipped + usize::from(word(packet, 10)?) {
        let (record, after) = RawRecord::read(packet, at)?;
        at = after;
        if record.kind == Kind::OPT && n >= skipped {
            // One only, at the root (RFC 6891, section 6.1.1).
            if edns.is_some() || !record.name.is_root() {
                return None;
            }
            let (subnet, cookie) = read_options(packet.get(record.value)?)?;
            edns = Some(Edns {
                udp_bytes: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & 0x8000 != 0,
                subnet,
                cookie,
            });
        }
    }
    Some(Query {
        id,
        flags,
        question,
        name,
        kind,
        class_in: matches!(class, CLASS_IN | CLASS_ANY),
        edns,
    })
}

/// What we know of EDNS options; `None` if they are malformed. Of several cookies the first counts (RFC 7873, section 5.2).
fn read_options(options: &[u8]) -> Option<(Option<Subnet>, Option<Cookie>)> {
    let mut at = 0;
    let mut subnet = None;
    let mut cookie = None;
    while at < options.len() {
        let (code, length) = (word(options, at)?, usize::from(word(options, at + 2)?));
        let value = options.get(at + 4..at + 4 + length)?;
        match code {
            CLIENT_SUBNET => subnet = Some(Subnet::read(value)?),
            cookies::OPTION if cookie.is_none() => cookie = Some(Cookie::read(value)?),
            _ => {}
        }
        at += 4 + length;
    }
    Some((subnet, cookie))
}

/// A record as it stands in a message.
struct RawRecord {
    name: Name,
    kind: Kind,
    class: u16,
    ttl: u32,
    value: std::ops::Range<usize>,
}

impl RawRecord {
    fn read(packet: &[u8], at: usize) -> Option<(Self, usize)> {
        let (name, at) = Name::read_compressed(packet, at)?;
        let ttl = u32::from(word(packet, at + 4)?) << 16 | u32::from(word(packet, at + 6)?);
        let start = at + 10;
        let end = start + usize::from(word(packet, at + 8)?);
        packet.get(start..end)?;
        let record = Self {
            name,
            kind: Kind(word(packet, at)?),
            class: word(packet, at + 2)?,
            ttl,
            value: start..end,
        };
        Some((record, end))
    }

    /// The value with its names written whole.
    fn whole_value(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let bytes = packet.get(self.value.clone())?;
        let (before, names) = names_in(self.kind);
        let mut whole = bytes.get(..before)?.to_vec();
        let mut at = self.value.start + before;
        for _ in 0..names {
            let (name, after) = Name::read_compressed(packet, at)?;
            whole.extend(name.wire());
            at = after;
        }
        whole.extend(packet.get(at..self.value.end)?);
        Some(whole)
    }
}

/// Octets before the names in a value, and how many names follow (RFC 3597, section 4).
fn names_in(kind: Kind) -> (usize, usize) {
    const DNAME: Kind = Kind(39);
    match kind {
        Kind::NS | Kind::CNAME | Kind::PTR | DNAME => (0, 1),
        Kind::MX => (2, 1),
        Kind::SRV => (6, 1),
        Kind::SOA => (0, 2),
        _ => (0, 0),
    }
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// A response of a header alone.
pub fn write_refusal(id: u16, flags: u16, code: Code) -> Vec<u8> {
    let flags = RESPONSE | flags & (OPCODE | RECURSION_DESIRED) | code as u16 & 0xf;
    let mut out = vec![0; HEADER_BYTES];
    out[..2].copy_from_slice(&id.to_be_bytes());
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out
}

/// A response of at most `limit` octets; what does not fit is left out and the asker told.
pub fn write_answer(query: &Query, answer: &Answer, recursion: bool, limit: usize) -> Vec<u8> {
    let mut flags = RESPONSE | query.flags & (RECURSION_DESIRED | CHECKING_DISABLED);
    flags |= answer.code as u16 & 0xf;
    if answer.authoritative {
        flags |= AUTHORITATIVE;
    }
    if recursion {
        flags |= RECURSION_AVAILABLE;
    }
    // A client subnet comes back with how much of it was looked at.
    let subnet = query.edns.and_then(|edns| edns.subnet).zip(answer.scope);
    let cookie = (query.edns.and_then(|edns| edns.cookie))
        .and_then(|cookie| Some((cookie.client, cookie.server?)));
    let option_bytes = subnet.map_or(0, |(subnet, _)| 4 + subnet.length())
        + cookie.map_or(0, |_| 4 + cookies::VALUE_BYTES);
    let room = limit - query.edns.map_or(0, |_| OPT_BYTES + option_bytes);
    let mut writer = Writer::new(query, room);
    let sections = [&answer.answers, &answer.authority, &answer.additional];
    let mut counts = sections.map(|records| writer.records(records));
    if writer.full {
        flags |= TRUNCATED;
        if limit < MAX_TCP_BYTES {
            writer.out.truncate(HEADER_BYTES + query.question.len());
            counts = [0; 3];
        }
    }
    let mut out = writer.out;
    if let Some(edns) = query.edns {
        counts[2] += 1;
        let dnssec_ok = u32::from(edns.dnssec_ok) << 15;
        let extended = (answer.code as u32 >> 4) << 24;
        out.push(0);
        out.extend(Kind::OPT.0.to_be_bytes());
        out.extend((MAX_UDP_BYTES as u16).to_be_bytes());
        out.extend((extended | dnssec_ok).to_be_bytes());
        out.extend((option_bytes as u16).to_be_bytes());
        if let Some((subnet, scope)) = subnet {
            out.extend(CLIENT_SUBNET.to_be_bytes());
            out.extend((subnet.length() as u16).to_be_bytes());
            subnet.write(scope, &mut out);
        }
        if let Some((client, server)) = cookie {
            out.extend(cookies::OPTION.to_be_bytes());
            out.extend((cookies::VALUE_BYTES as u16).to_be_bytes());
            out.extend(client);
            out.extend(server);
        }
    }
    out[..2].copy_from_slice(&query.id.to_be_bytes());
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..6].copy_from_slice(&1u16.to_be_bytes());
    for (n, count) in counts.into_iter().enumerate() {
        out[6 + 2 * n..8 + 2 * n].copy_from_slice(&count.to_be_bytes());
    }
    out
}

/// A message being written, with the names in it that others may point at.
struct Writer<'a> {
    out: Vec<u8>,
    room: usize,
    full: bool,
    names: Vec<(&'a [u8], u16)>,
}

/// More names than that are not looked through.
const MAX_POINTERS: usize = 64;

impl<'a> Writer<'a> {
    fn new(query: &'a Query, room: usize) -> Self {
        let mut out = Vec::with_capacity(PLAIN_UDP_BYTES);
        out.resize(HEADER_BYTES, 0);
        out.extend(&query.question);
        let mut writer = Self {
            out,
            room,
            full: false,
            names: Vec::with_capacity(8),
        };
        writer.remember(query.name.wire(), HEADER_BYTES);
        writer
    }

    /// The suffixes of a name that begins at `at`.
    fn remember(&mut self, name: &'a [u8], at: usize) {
        let mut start = 0;
        while name[start] != 0 && self.names.len() < MAX_POINTERS && at + start < 0x3fff {
            self.names.push((&name[start..], (at + start) as u16));
            start += usize::from(name[start]) + 1;
        }
    }

    fn records(&mut self, records: &'a [Record]) -> u16 {
        let mut count = 0;
        for record in records {
            if self.full {
                break;
            }
            let (length, names) = (self.out.len(), self.names.len());
            self.record(record);
            if self.out.len() > self.room {
                self.full = true;
                self.out.truncate(length);
                self.names.truncate(names);
            } else {
                count += 1;
            }
        }
        count
    }

    fn record(&mut self, record: &'a Record) {
        self.name(record.name.wire());
        self.out.extend(record.kind.0.to_be_bytes());
        self.out.extend(CLASS_IN.to_be_bytes());
        self.out.extend(record.ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend([0, 0]);
        let value = &*record.value;
        // Only types of RFC 1035 may hold pointers (RFC 3597, section 4).
        let (before, names) = match record.kind {
            Kind::SRV => (0, 0),
            kind => names_in(kind),
        };
        let mut at = before.min(value.len());
        self.out.extend(&value[..at]);
        for _ in 0..names {
            let Some((_, length)) = Name::read(&value[at..]) else {
                break;
            };
            self.name(&value[at..at + length]);
            at += length;
        }
        self.out.extend(&value[at..]);
        let length = self.out.len() - length_at - 2;
        match u16::try_from(length) {
            Ok(length) => {
                self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            }
            // No value is that long; if one were it would not fit.
            Err(_) => self.out.resize(self.room + 1, 0),
        }
    }

    fn name(&mut self, name: &'a [u8]) {
        let mut start = 0;
        while name[start] != 0 {
            let suffix = &name[start..];
            let known = self.names.iter().find(|(known, _)| *known == suffix);
            if let Some((_, at)) = known {
                let pointer = 0xc000 | at;
                let begin = self.out.len();
                self.out.extend(&name[..start]);
                self.out.extend(pointer.to_be_bytes());
                self.remember_part(name, start, begin);
                return;
            }
            start += usize::from(name[start]) + 1;
        }
        let begin = self.out.len();
        self.out.extend(name);
        self.remember(name, begin);
    }

    /// The labels before a pointer can be pointed at as well.
    fn remember_part(&mut self, name: &'a [u8], end: usize, begin: usize) {
        let mut start = 0;
        while start < end && self.names.len() < MAX_POINTERS && begin + start < 0x3fff {
            self.names.push((&name[start..], (begin + start) as u16));
            start += usize::from(name[start]) + 1;
        }
    }
}

/// A question to another resolver.
pub fn write_question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    question(id, name, kind, None)
}

/// The same with octets that say nothing, up to a length that all share: who looks on learns no name from the length of
/// what is encrypted (RFC 7830; the length: RFC 8467, section 4.1).
pub fn write_padded_question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let bare = question(id, name, kind, Some(0)).len();
    let padding = bare.next_multiple_of(QUESTION_BLOCK) - bare;
    question(id, name, kind, Some(padding))
}

fn question(id: u16, name: &Name, kind: Kind, padding: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + name.wire().len() + 4 + OPT_BYTES);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 1] {
        out.extend(word.to_be_bytes());
    }
    out.extend(name.wire());
    out.extend(kind.0.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.push(0);
    out.extend(Kind::OPT.0.to_be_bytes());
    out.extend((MAX_UDP_BYTES as u16).to_be_bytes());
    out.extend([0; 4]);
    let Some(padding) = padding else {
        out.extend([0; 2]);
        return out;
    };
    out.extend((padding as u16 + 4).to_be_bytes());
    out.extend(PADDING.to_be_bytes());
    out.extend((padding as u16).to_be_bytes());
    out.resize(out.len() + padding, 0);
    out
}

/// What another resolver said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Answer(Answer),
    /// To be asked again over TCP.
    Truncated,
}

/// The response to [`write_question`]; `None` for anything else, which is no reason to stop waiting.
pub fn read_response(packet: &[u8], id: u16, name: &Name, kind: Kind) -> Option<Heard> {
    let flags = word(packet, 2)?;
    if word(packet, 0)? != id || flags & RESPONSE == 0 || word(packet, 4)? != 1 {
        return None;
    }
    let (asked, length) = Name::read(packet.get(HEADER_BYTES..)?)?;
    let mut at = HEADER_BYTES + length;
    if asked != *name || Kind(word(packet, at)?) != kind || word(packet, at + 2)? != CLASS_IN {
        return None;
    }
    at += 4;
    if flags & TRUNCATED != 0 {
        return Some(Heard::Truncated);
    }
    let mut answer = Answer {
        code: match flags & 0xf {
            0 => Code::NoError,
            3 => Code::NxDomain,
            _ => Code::ServFail,
        },
        ..Answer::default()
    };
    for (section, offset) in [(&mut answer.answers, 6), (&mut answer.authority, 8)] {
        for _ in 0..word(packet, offset)? {
            let (record, after) = RawRecord::read(packet, at)?;
            at = after;
            section.push(Record {
                value: record.whole_value(packet)?.into(),
                name: record.name,
                kind: record.kind,
                ttl: record.ttl,
            });
        }
    }
    Some(Heard::Answer(answer))
}

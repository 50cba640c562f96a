//! The two ends of a measured path, for tests/bench_network.py and tests/bench_load_balancer.py, which start each in a namespace of its own. Not for
//! people: the loop is all there is, so that what is measured is the path.
//!
//! An end that serves runs until it is killed. The other prints its figures as one line of JSON.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of a request and of its answer.
const REQUEST: usize = 64;
/// Bytes of one write of a bulk stream.
const CHUNK: usize = 128 << 10;
/// Requests before the first one that counts.
const WARM_UP: usize = 50;

pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["echo", address] => echo(address.parse()?),
        ["sink", address] => sink(address.parse()?),
        ["request", address, count] => request(address.parse()?, count.parse()?),
        ["connect", address, count] => connect(address.parse()?, count.parse()?),
        ["bulk", address, streams, ms] => {
            let length = Duration::from_millis(ms.parse()?);
            bulk(address.parse()?, streams.parse()?, length)
        }
        ["web-socket-echo", address] => web_socket_echo(address.parse()?),
        ["web-socket", address, connections, ms] => {
            let length = Duration::from_millis(ms.parse()?);
            web_socket(address.parse()?, connections.parse()?, length)
        }
        ["idle", address, count] => idle(address.parse()?, count.parse()?),
        _ => bail!(
            "echo ADDRESS | sink ADDRESS | request ADDRESS COUNT | connect ADDRESS COUNT | bulk ADDRESS STREAMS MS | \
             web-socket-echo ADDRESS | web-socket ADDRESS CONNECTIONS MS | idle ADDRESS COUNT"
        ),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    println!("ready");
    Ok(listener)
}

/// Sends back what comes, one connection after the other: no thread is started between a connection and its answer.
fn echo(address: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    let mut buffer = [0; REQUEST];
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
    }
}

fn sink(address: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        });
    }
}

/// Requests over one connection.
fn request(address: SocketAddr, count: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let times = (0..WARM_UP + count).map(|_| {
        let started = Instant::now();
        ask(&mut stream)?;
        Ok(started.elapsed())
    });
    print(times.collect::<Result<Vec<_>>>()?);
    Ok(())
}

/// A connection for each request: from the call to `connect` to the last byte of the answer.
fn connect(address: SocketAddr, count: usize) -> Result<()> {
    let times = (0..WARM_UP + count).map(|_| {
        let started = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        ask(&mut stream)?;
        let took = started.elapsed();
        // Both ends are done with it before the next one begins.
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(took)
    });
    print(times.collect::<Result<Vec<_>>>()?);
    Ok(())
}

fn ask(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [7; REQUEST];
    stream.write_all(&buffer)?;
    stream.read_exact(&mut buffer)?;
    Ok(())
}

fn print(mut times: Vec<Duration>) {
    let mut times = times.split_off(WARM_UP);
    times.sort();
    let us = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    println!("{{\"p50_us\": {:.2}, \"p99_us\": {:.2}}}", us(50), us(99));
}

fn bulk(address: SocketAddr, streams: usize, length: Duration) -> Result<()> {
    let opened = (0..streams).map(|_| Ok(TcpStream::connect(address)?));
    let opened = opened.collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let senders: Vec<_> = opened
            .into_iter()
            .map(|stream| scope.spawn(move || send(stream, started, length)))
            .collect();
        let sent = senders.into_iter().map(|sender| sender.join());
        sent.map(|bytes| bytes.unwrap_or_else(|_| bail!("a sender panicked")))
            .sum::<Result<u64>>()
    })?;
    let gigabits = bytes as f64 * 8e-9 / started.elapsed().as_secs_f64();
    println!("{{\"gbit_s\": {gigabits:.3}}}");
    Ok(())
}

/// Until the time is over and the other end has it all.
fn send(mut stream: TcpStream, started: Instant, length: Duration) -> Result<u64> {
    let chunk = vec![7; CHUNK];
    let mut bytes = 0;
    while started.elapsed() < length {
        bytes += stream.write(&chunk)? as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(bytes)
}

/// A frame of 64 bytes as a client sends it: two bytes of head, four of mask.
const FRAME: usize = 70;

/// Switches protocols for whoever asks, and sends back what comes in frames' size.
fn web_socket_echo(address: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        std::thread::spawn(move || -> Result<()> {
            stream.set_nodelay(true)?;
            read_head(&mut stream)?;
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")?;
            let mut frame = [0; FRAME];
            while stream.read_exact(&mut frame).is_ok() {
                stream.write_all(&frame)?;
            }
            Ok(())
        });
    }
}

/// Everything up to the empty line, and not a byte more.
fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Connections that each send a frame, wait for it to come back, and so on until the time is over.
fn web_socket(address: SocketAddr, connections: usize, length: Duration) -> Result<()> {
    let opened = (0..connections).map(|_| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"GET /socket HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")?;
        let head = read_head(&mut stream)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!("no switch: {}", String::from_utf8_lossy(&head));
        }
        Ok(stream)
    });
    let opened = opened.collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let talks: Vec<_> = opened
            .into_iter()
            .map(|stream| scope.spawn(move || talk(stream, started, length)))
            .collect();
        let said = talks.into_iter().map(|talk| talk.join());
        said.map(|times| times.unwrap_or_else(|_| bail!("a talk panicked")))
            .collect::<Result<Vec<_>>>()
    })?
    .concat();
    times.sort();
    let at = |part: usize| times.get(times.len().saturating_sub(1) * part / 100);
    println!(
        "{{\"messages\": {}, \"p99_us\": {:.2}}}",
        times.len(),
        at(99).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    );
    Ok(())
}

fn talk(mut stream: TcpStream, started: Instant, length: Duration) -> Result<Vec<Duration>> {
    let mut frame = [7; FRAME];
    let mut times = Vec::new();
    while started.elapsed() < length {
        let sent = Instant::now();
        stream.write_all(&frame)?;
        stream.read_exact(&mut frame)?;
        times.push(sent.elapsed());
    }
    Ok(times)
}

/// Holds connections that have asked once, until its input ends.
fn idle(address: SocketAddr, count: usize) -> Result<()> {
    let held = (0..count).map(|_| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /1k HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
        read_head(&mut stream)?;
        stream.read_exact(&mut [0; 1024])?;
        Ok(stream)
    });
    let held = held.collect::<Result<Vec<_>>>()?;
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

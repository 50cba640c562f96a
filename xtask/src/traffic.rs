//! The two ends of a measured path, for tests/bench_network.py, which starts each in a namespace of its own. Not for
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
        _ => bail!(
            "echo ADDRESS | sink ADDRESS | request ADDRESS COUNT | connect ADDRESS COUNT | bulk ADDRESS STREAMS MS"
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

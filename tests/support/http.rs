//! A small blocking HTTP/1.1 client that sends exactly the bytes it is given, so that tests can
//! also send what no well-behaved client would.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest time a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a header, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter();
        let found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    exchange(address, head.as_bytes())
}

/// Asks with one more header, a line without an end.
pub(crate) fn get_with(address: SocketAddr, path: &str, header: &str) -> io::Result<Response> {
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{header}\r\nconnection: close\r\n\r\n");
    exchange(address, head.as_bytes())
}

/// Puts JSON.
pub(crate) fn put(address: SocketAddr, path: &str, body: &[u8]) -> io::Result<Response> {
    let mut request = format!(
        "PUT {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    exchange(address, &request)
}

pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut stream = connect(address)?;
    stream.write_all(&post_head(address, path, headers, body.len()))?;
    // A refusal may come, and the connection end, before the whole body was sent.
    let sent = stream.write_all(body).and_then(|()| stream.flush());
    read_response(&mut stream).map_err(|error| sent.err().unwrap_or(error))
}

/// The head of a POST that announces `length` bytes.
pub(crate) fn post_head(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    head.into_bytes()
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends bytes and reads the answer until the connection ends.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = connect(address)?;
    stream.write_all(bytes)?;
    read_response(&mut stream)
}

/// Sends a head and a body, and reads the answer to that method until the connection ends: one to
/// HEAD has no body, whatever it says.
pub(crate) fn converse(
    address: SocketAddr,
    head: &[u8],
    body: &[u8],
    method: &str,
) -> io::Result<Response> {
    let mut stream = connect(address)?;
    stream.write_all(head)?;
    // A refusal may come, and the connection end, before the whole body was sent.
    let sent = stream.write_all(body).and_then(|()| stream.flush());
    if method != "HEAD" {
        return read_response(&mut stream).map_err(|error| sent.err().unwrap_or(error));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut stream, &mut bytes)?;
    let parsed = parse_as(&bytes, true).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(parsed)
}

/// Reads one answer; the connection is used for nothing after it.
pub(crate) fn read_response(stream: &mut impl io::Read) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    match parse(&bytes) {
        Some(response) => Ok(response),
        None => match ended {
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("no whole answer in {} bytes", bytes.len()),
            )),
            Err(error) => Err(error),
        },
    }
}

fn parse(bytes: &[u8]) -> Option<Response> {
    parse_as(bytes, false)
}

fn parse_as(bytes: &[u8], is_head: bool) -> Option<Response> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at(head_end);
    let body = &rest[4..];
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return parse_as(body, is_head);
    }
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    response.body = if is_head {
        body.to_vec()
    } else if response.header("transfer-encoding") == Some("chunked") {
        unchunk(body)?
    } else {
        let length = response
            .header("content-length")
            .map_or(Some(body.len()), |text| text.parse().ok())?;
        body.get(..length)?.to_vec()
    };
    Some(response)
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line_end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let rest = bytes.get(line_end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size + 2..)?;
    }
}

//! The DNS servers that a container asks.
//!
//! Called by [`app`](crate::app) where capture of DNS is wanted. The file is the one that
//! resolv.conf(5) describes, written by the kubelet; whoever reads the list may rely on every server
//! being in it once.

use std::{
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
};

/// More than this of the file is not read; the kubelet writes a few hundred bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// The servers of the file at `path`, none if there is no file.
///
/// # Errors
/// Where the file is there and cannot be read.
pub fn servers(path: &Path) -> io::Result<Vec<IpAddr>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_LIMIT).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// What makes no sense is passed over, as resolvers do. A server with a zone (`fe80::1%eth0`) is
/// captured on every interface.
fn parse(file: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in file.lines() {
        let mut words = line.split_ascii_whitespace();
        let address = match words.next() {
            Some("nameserver") => words.next().and_then(|word| word.split('%').next()),
            Some(_) | None => None,
        };
        if let Some(server) = address.and_then(|address| address.parse().ok())
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_once_each_and_odd_lines_are_passed_over() {
        let file = "# made by the kubelet\nsearch default.svc.cluster.local\n\
                    nameserver 10.96.0.10\nnameserver\tfd00::10 # second\n\
                    nameserver 10.96.0.10\nnameserver fe80::1%eth0\n  nameserver 192.0.2.1\n\
                    nameserver\nnameserver none\n;nameserver 192.0.2.2\nnameservers 192.0.2.3\noptions ndots:5";
        let expected = ["10.96.0.10", "fd00::10", "fe80::1", "192.0.2.1"];
        let found: Vec<String> = parse(file).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, expected);
        assert!(parse("").is_empty());
    }

    #[test]
    fn no_file_is_no_server_and_one_that_cannot_be_read_is_an_error() {
        let none = servers(Path::new("/nonexistent/resolv.conf")).expect("it is not there");
        assert!(none.is_empty());
        assert!(servers(Path::new("/")).is_err());
    }
}

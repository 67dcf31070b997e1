//! Listens on the far end of a link and tells every token that arrives there, in whatever packet.
use crate::{Namespace, Running};
use anyhow::Result;
use std::collections::BTreeSet;
use std::time::Duration;

/// Takes every frame of every device in the namespace, so that no protocol is overlooked, and
/// answers on one TCP and one UDP port, so that ordinary connections succeed.
const PROGRAM: &str = r#"
import re, socket, struct, sys, threading
port = int(sys.argv[1])
token = re.compile(rb"gwtok-[a-z0-9-]+\.")
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
SO_RCVBUFFORCE = 33
frames.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", port))
def say(text):
    # In one write: lines of two threads must not mix.
    sys.stdout.write(text + "\n")
def drain(connection):
    with connection:
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass
def accept():
    while True:
        connection, peer = tcp.accept()
        say(f"accepted {peer[0]} {peer[1]}")
        threading.Thread(target=drain, args=(connection,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
say("listening")
# On the namespace's own loopback the gateway may listen too, and refuse what it hears.
def is_for_sink(packet):
    head = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
    return port in struct.unpack(">HH", packet[head:head + 4])
seen = set()
while True:
    frame, (device, *_) = frames.recvfrom(65535)
    if device == "lo" and not is_for_sink(frame[14:]):
        continue
    for word in token.findall(frame):
        if word not in seen:
            seen.add(word)
            say("token " + word[:-1].decode())
"#;

/// A running sniffer with its sink.
pub struct Sniffer {
    program: Running,
    port: u16,
}

impl Sniffer {
    /// Starts one in the namespace; its sink listens on this port for TCP and UDP.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Sniffer> {
        let mut command = namespace.command("/usr/bin/python3");
        command.args(["-u", "-c", PROGRAM, &port.to_string()]);
        let mut program = Running::start(&mut command)?;
        program.wait_for_output("listening", Duration::from_secs(10))?;
        Ok(Sniffer { program, port })
    }

    /// The port of its sink.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A token in the form that the sniffer looks for; the final dot says that it is whole.
    #[must_use]
    pub fn token(label: &str) -> String {
        format!("gwtok-{label}.")
    }

    /// The tokens that arrived, without their final dot.
    #[must_use]
    pub fn tokens(&self) -> BTreeSet<String> {
        self.lines("token ")
    }

    /// The peers whose TCP connections arrived: address and port.
    #[must_use]
    pub fn accepted(&self) -> BTreeSet<String> {
        self.lines("accepted ")
    }

    fn lines(&self, prefix: &str) -> BTreeSet<String> {
        let text = self.program.stdout();
        text.lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
            .collect()
    }
}

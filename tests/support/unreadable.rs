//! A message that RabbitMQ takes and a strict client can't read: the id is a name in Latin-1, as an old producer sends
//! it. Written frame by frame, because no strict client can send it either.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::subscriber::PATIENCE;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Puts such a job into a queue of the node with this URL.
pub fn publish(url: &str, queue: &str) {
    let address = url.trim_start_matches("amqp://").trim_end_matches('/');
    let body = br#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-unreadable"]}"#;
    let login = [long(b""), short(b"PLAIN"), long(b"\0guest\0guest"), short(b"en_US")].concat();
    let message_id_follows = 1_u16 << 7;
    let length = body.len() as u64;
    let properties =
        [&length.to_be_bytes()[..], &message_id_follows.to_be_bytes(), &short(b"Auftrag-\xfcber")].concat();
    let conversation = [
        b"AMQP\0\0\x09\x01".to_vec(),
        frame(METHOD, 0, &[&number(10, 11)[..], &login].concat()),
        frame(METHOD, 0, &[&number(10, 31)[..], &[7, 255, 0, 2, 0, 0, 0, 0]].concat()),
        frame(METHOD, 0, &[&number(10, 40)[..], &short(b"/"), &[0, 0]].concat()),
        frame(METHOD, 1, &[&number(20, 10)[..], &[0]].concat()),
        frame(METHOD, 1, &[&number(60, 40)[..], &[0, 0, 0], &short(queue.as_bytes()), &[0]].concat()),
        frame(HEADER, 1, &[&number(60, 0)[..], &properties].concat()),
        frame(BODY, 1, body),
        // The end of the channel, then of the connection: the broker says goodbye when all before is done.
        frame(METHOD, 1, &[&number(20, 40)[..], &[0; 7]].concat()),
        frame(METHOD, 0, &[&number(10, 50)[..], &[0; 7]].concat()),
    ];
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(&conversation.concat()).expect("the broker listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let goodbye = frame(METHOD, 0, &number(10, 51));
    let mut heard = Vec::new();
    // The broker hangs up only much later.
    while !heard.ends_with(&goodbye) {
        let mut some = [0; 1024];
        let length = stream.read(&mut some).expect("the broker answers");
        assert!(length > 0, "the broker hung up early: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&some[..length]);
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &long(payload), &[0xce]].concat()
}

/// A class and one of its methods.
fn number(class: u16, method: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (class.to_be_bytes(), method.to_be_bytes());
    [a, b, c, d]
}

fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[length][..], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a text");
    [&length.to_be_bytes()[..], text].concat()
}

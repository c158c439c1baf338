//! What is between a server and its database.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Passes on, swallows, or cuts.
pub struct Wire {
    pub port: u16,
    state: Arc<AtomicU8>,
}

pub const PASS: u8 = 0;
pub const SWALLOW: u8 = 1;
pub const CUT: u8 = 2;

impl Wire {
    pub fn to(port: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(AtomicU8::new(PASS)),
        };
        let state = Arc::clone(&wire.state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if state.load(Ordering::Relaxed) == CUT {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || {
                        from.set_read_timeout(Some(Duration::from_millis(50)))
                            .unwrap();
                        let mut buffer = [0; 4096];
                        loop {
                            if state.load(Ordering::Relaxed) == CUT {
                                break;
                            }
                            match from.read(&mut buffer) {
                                Ok(0) => break,
                                Ok(_) if state.load(Ordering::Relaxed) == SWALLOW => {}
                                Ok(length) => {
                                    if to.write_all(&buffer[..length]).is_err() {
                                        break;
                                    }
                                }
                                Err(error)
                                    if matches!(
                                        error.kind(),
                                        std::io::ErrorKind::WouldBlock
                                            | std::io::ErrorKind::TimedOut
                                    ) => {}
                                Err(_) => break,
                            }
                        }
                        from.shutdown(std::net::Shutdown::Both).ok();
                        to.shutdown(std::net::Shutdown::Both).ok();
                    });
                }
            }
        });
        wire
    }

    pub fn set(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }
}

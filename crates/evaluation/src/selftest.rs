//! The self-test of the sandbox, at the start of a worker: a child locked in like any other does what it must, then tries
//! every escape, at bait that is open to every process outside.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{
    Limits, Tools, model,
    onnx::build::{Conv, GraphBuilder},
    runner::{Fault, Runner, Setup, Slot},
    sandbox::{Bait, Probe},
};

/// How long it may take; it takes a tenth of a second.
const TIME: Duration = Duration::from_secs(60);
/// Address space of the child, bytes.
const MEMORY: u64 = 4 << 30;
/// Size of the picture that the harmless model gets.
const SIZE: (u32, u32) = (8, 6);

/// What the self-test found.
#[derive(Debug)]
pub struct Report {
    /// Protections in force, as stored with each score.
    pub level: String,
    /// Every escape that was tried.
    pub probes: Vec<Probe>,
}

/// Runs it for `device`. An error: the sandbox cannot be set up, or a harmless model cannot run in it.
pub fn run(tools: &Tools, device: &str) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let (secret, open) = (folder.path().join("secret"), folder.path().join("open"));
    fs::write(&secret, "open to all")?;
    fs::create_dir(&open)?;
    for (path, mode) in [(folder.path(), 0o755), (&secret, 0o644), (&open, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port to listen at")?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a port to listen at")?;
    let name = format!("upscore-selftest-{}-{}", std::process::id(), tcp.local_addr()?.port());
    let _unix = abstract_socket(&name)?;
    let descriptor = inheritable(&tcp)?;
    let setup = Setup {
        program: tools.runner.clone(),
        onnxruntime: tools.onnxruntime.clone(),
        device: device.to_owned(),
        threads: 2,
        limits: Limits { memory_bytes: MEMORY, time: TIME },
        strict: tools.strict_sandbox,
    };
    let mut runner = Runner::start(&setup, Arc::new(AtomicBool::new(false)))?;
    let level = runner.sandbox.clone();
    harmless(&mut runner).map_err(ours).context("a harmless model in the sandbox")?;
    let bait = Bait {
        file: secret,
        folder: open,
        tcp: tcp.local_addr()?.port(),
        udp: udp.local_addr()?.port(),
        unix: name,
        pid: std::process::id() as i32,
        descriptor: descriptor.as_raw_fd(),
        memory_bytes: MEMORY,
    };
    let probes = runner.probe(bait).map_err(ours).context("trying the escapes")?;
    ensure!(!probes.is_empty(), "no escape was tried");
    Ok(Report { level, probes })
}

/// What an evaluation does, in small: shapes from a profile, a session, a pass.
fn harmless(runner: &mut Runner) -> Result<(), Fault> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let x = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(x, 4);
    let model = model::vet(g.build(sr)).map_err(|problems| anyhow!("the harmless model is refused: {problems:?}"))?;
    runner.flat(&model.flat_bytes())?;
    runner.shapes(SIZE.0, SIZE.1)?;
    runner.load(Slot::Entry, &model.bytes)?;
    let values = 3 * SIZE.0 * SIZE.1;
    let output = runner.run(&vec![0.5; values as usize], SIZE, 16 * u64::from(values))?;
    let expected = [1, 3, 4 * i64::from(SIZE.0), 4 * i64::from(SIZE.1)];
    if output.dims != expected {
        return Err(Fault::Ours(anyhow!("it gave {:?}", output.dims)));
    }
    Ok(())
}

/// Nobody's model is at fault here.
fn ours(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Model(problem) => anyhow!(problem),
        Fault::Ours(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn abstract_socket(name: &str) -> Result<UnixListener> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    Ok(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?)
}

#[cfg(not(target_os = "linux"))]
fn abstract_socket(name: &str) -> Result<UnixListener> {
    Ok(UnixListener::bind(std::env::temp_dir().join(name))?)
}

/// A descriptor that a careless program would hand to its children. High up, where no child has one of its own.
fn inheritable(file: &impl AsRawFd) -> Result<OwnedFd> {
    // SAFETY: the new descriptor is ours alone.
    unsafe {
        let copy = libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 100);
        ensure!(copy >= 0, "no descriptor left: {}", std::io::Error::last_os_error());
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

//! The model's process: every escape is tried and stopped, a protection that is missing is told, and what a model does wrong
//! gets the verdict it deserves.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use prost::Message;
use upscore_evaluation::{
    EvalImage, Job, Limits, Origin, TimingSettings, Tools, examine, fidelity, installation, model,
    onnx::{
        build::{Attribute, Conv, GraphBuilder, Interpolation},
        proto::{
            AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
            StringStringEntryProto, TensorProto, TrainingInfoProto, attribute_proto::AttributeType,
            tensor_proto::DataLocation,
        },
    },
    problem::Problem,
    runner::{Fault, Runner, Setup, Slot},
    selftest::{self, Report},
    upscale,
};

use crate::support::{files, models};

fn tools(strict: bool) -> Tools {
    Tools {
        onnxruntime: installation::find_onnxruntime().expect("run `make setup` first"),
        runner: crate::support::program(),
        strict_sandbox: strict,
        commit: None,
    }
}

fn open(report: &Report) -> Vec<&str> {
    report.probes.iter().filter(|probe| probe.open).map(|probe| probe.escape.as_str()).collect()
}

#[test]
fn no_escape_succeeds() {
    let report = selftest::run(&tools(cfg!(target_os = "linux")), "cpu").expect("the sandbox is set up");
    holds(&report);
    if is_root() {
        assert!(report.level.contains("own uid"), "{}", report.level);
    }
    if is_root() && !report.level.contains("no namespaces") {
        let seen = report.threads.iter().filter(|thread| thread.namespaces == Some(true)).count();
        assert_eq!(seen, report.threads.len() - 1, "all but the one made for the test: {:?}", report.threads);
    }
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// Nothing got out, by any thread, each of which has tried.
fn holds(report: &Report) {
    assert_eq!(open(report), Vec::<&str>::new(), "{}", report.level);
    let tried: Vec<usize> = report.threads.iter().filter_map(|thread| thread.tried).collect();
    assert!(tried.len() >= 3 && tried.len() == report.threads.len(), "{:?}", report.threads);
    assert!(tried[0] >= 50 && tried.iter().all(|each| *each == tried[0]), "{tried:?}");
    for layer in ["rlimits", "landlock", "seccomp"] {
        assert!(report.level.contains(layer) && !report.level.contains(&format!("no {layer}")), "{}", report.level);
    }
}

/// The self-test must be able to fail: a kernel is played that lacks a protection, or says that it has one and does nothing.
#[cfg(target_os = "linux")]
mod missing {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path};

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        apply_filter,
    };

    use super::{open, tools};
    use upscore_evaluation::{
        Tools,
        selftest::{self, Report},
    };

    type Answers = Vec<(i64, Vec<SeccompRule>, i32)>;

    /// The self-test under a kernel that answers these calls with an error number; 0: it says that all is well.
    fn under(strict: bool, answers: Answers) -> anyhow::Result<Report> {
        let play = move || {
            answer(answers);
            selftest::run(&tools(strict), "cpu")
        };
        std::thread::spawn(play).join().expect("no panic")
    }

    /// For this thread and the processes that it starts.
    fn answer(answers: Answers) {
        for (call, rules, errno) in answers {
            let arch = std::env::consts::ARCH.try_into().expect("a known processor");
            let calls = BTreeMap::from([(call, rules)]);
            let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
            let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
            apply_filter(&program).expect("seccomp");
        }
    }

    /// The self-test as an ordinary user who is nobody else, under such a kernel.
    fn as_ordinary_user(answers: Answers) -> Report {
        const USER: u32 = 61_234;
        // Where everybody may read and run them: a checkout may be root's alone.
        let folder = tempfile::tempdir().expect("a folder");
        let open_to_all = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755));
        let copied = |from: &Path| {
            let to = folder.path().join(from.file_name().expect("a name"));
            std::fs::copy(from, &to).and_then(|_| open_to_all(&to)).expect("a copy");
            to
        };
        let tools = tools(true);
        let tools = Tools { runner: copied(&tools.runner), onnxruntime: copied(&tools.onnxruntime), ..tools };
        open_to_all(folder.path()).expect("it is opened");
        let play = move || {
            if super::is_root() {
                // The bare calls are of this thread; the C library's would change the whole process.
                // SAFETY: plain system calls.
                let changed = unsafe {
                    libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) == 0
                        && libc::syscall(libc::SYS_setresgid, USER, USER, USER) == 0
                        && libc::syscall(libc::SYS_setresuid, USER, USER, USER) == 0
                };
                assert!(changed, "{}", std::io::Error::last_os_error());
            }
            answer(answers);
            selftest::run(&tools, "cpu").expect("the sandbox is set up")
        };
        std::thread::spawn(play).join().expect("no panic")
    }

    #[test]
    fn no_escape_succeeds_for_an_ordinary_user() {
        let report = as_ordinary_user(Vec::new());
        super::holds(&report);
        // Whoever has them as root and not as a user has a kernel that forbids them to users.
        let forbidden = ["/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces"]
            .iter()
            .any(|knob| std::fs::read_to_string(knob).is_ok_and(|value| value.trim() == "0"))
            || std::fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                .is_ok_and(|value| value.trim() == "1");
        let root = selftest::run(&tools(true), "cpu").expect("the sandbox is set up");
        if forbidden || root.level.contains("no namespaces") {
            eprintln!("SKIPPED: this machine allows an ordinary user no namespaces; that he gets them was NOT checked");
        } else {
            assert!(!report.level.contains("no namespaces"), "{}", report.level);
        }
    }

    /// What Docker's default profile refuses to a container without rights.
    #[test]
    fn no_escape_succeeds_in_a_container() {
        let refused = [
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
        ];
        let report = as_ordinary_user(refused.map(|call| (call, Vec::new(), libc::EPERM)).into());
        super::holds(&report);
        assert!(report.level.contains("no namespaces"), "{}", report.level);
    }

    /// What CUDA's rules leave open, without a GPU: a process of one thread goes in by them and tries every escape, at
    /// another of the same user. Two calls are known to rest on the users alone, which differ between models.
    #[test]
    fn no_escape_succeeds_by_cudas_rules() {
        if !super::is_root() {
            eprintln!("SKIPPED: not root; what CUDA's rules leave open was NOT checked");
            return;
        }
        for namespaces in [true, false] {
            let (level, mut open) = by_cudas_rules(namespaces);
            assert!(level.contains("own uid") && level.contains("landlock") && level.contains("seccomp"), "{level}");
            open.sort();
            let by_user = ["move another model's process to other cores", "slow another model's process"];
            assert_eq!(open, by_user, "{level}");
        }
    }

    fn by_cudas_rules(namespaces: bool) -> (String, Vec<String>) {
        use std::{io::Read, net, os::fd::FromRawFd, os::linux::net::SocketAddrExt, os::unix::net as unix};
        use upscore_evaluation::{
            runtime::Device,
            sandbox::{self, Bait, Tried},
        };
        const USER: u32 = sandbox::OWN_USERS + 7;
        let folder = tempfile::tempdir().expect("a folder");
        let open_to_all = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777));
        let [file, open, scratch] = ["file", "open", "scratch"].map(|name| folder.path().join(name));
        std::fs::write(&file, "open to all").expect("a file");
        for made in [&open, &scratch] {
            std::fs::create_dir(made).expect("a folder");
        }
        let socket = open.join("socket");
        let _unix = unix::UnixListener::bind(&socket).expect("a socket");
        for path in [folder.path(), &file, &open, &scratch, &socket] {
            open_to_all(path).expect("it is opened");
        }
        let name = format!("upscore-cuda-{}-{namespaces}", std::process::id());
        let address = unix::SocketAddr::from_abstract_name(&name).expect("an address");
        let _abstract = unix::UnixListener::bind_addr(&address).expect("a socket");
        let tcp = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let udp = net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let key = 0x5570_0000 + std::process::id() as i32 % 0xffff;
        // SAFETY: plain system calls.
        let memory = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | 0o666) };
        assert!(memory >= 0, "memory of System V");
        let mut neighbour = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::uid(&mut neighbour, USER);
        let mut neighbour = neighbour.arg("60").spawn().expect("another process of this user");
        let library = tools(true).onnxruntime;
        let bait = Bait {
            file,
            folder: open,
            library: library.clone(),
            tcp: tcp.local_addr().expect("bound").port(),
            udp: udp.local_addr().expect("bound").port(),
            unix: name,
            socket,
            shared_memory: key,
            pid: std::process::id() as i32,
            neighbour: neighbour.id() as i32,
            // None is handed down: this process is not started by the runner's supervisor.
            descriptor: 9999,
            memory_bytes: 4 << 30,
            threads: Vec::new(),
        };
        let rules = sandbox::Rules {
            scratch: &scratch,
            library: &library,
            user: Some(USER),
            memory_bytes: 4 << 30,
            cpu_seconds: 60,
            strict: true,
            device: Device::Cuda(0),
            gpu_minor: Some(0),
        };
        let go = || -> anyhow::Result<(String, Vec<Tried>)> {
            // SAFETY: the only thread of the forked process.
            unsafe { libc::clearenv() };
            if !namespaces {
                answer(vec![no_namespaces()]);
            }
            let inside = sandbox::enter(&rules)?;
            Ok((inside.level.clone(), inside.probe(&bait)?))
        };
        let mut pipe = [0; 2];
        // SAFETY: the descriptors are new and ours; the forked process has one thread, and ends before it returns.
        let mut read = unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            if libc::fork() == 0 {
                let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(go));
                let said =
                    said.map_err(|_| "it panicked".to_owned()).and_then(|said| said.map_err(|e| format!("{e:#}")));
                let text = serde_json::to_vec(&said).unwrap_or_default();
                libc::write(pipe[1], text.as_ptr().cast(), text.len());
                libc::_exit(0)
            }
            libc::close(pipe[1]);
            std::fs::File::from_raw_fd(pipe[0])
        };
        let mut text = Vec::new();
        read.read_to_end(&mut text).expect("what it said");
        neighbour.kill().and_then(|()| neighbour.wait()).expect("it ends");
        // SAFETY: a plain system call on what is ours.
        unsafe { libc::shmctl(memory, libc::IPC_RMID, std::ptr::null_mut()) };
        let said: Result<(String, Vec<Tried>), String> = serde_json::from_slice(&text).expect("an answer");
        let (level, tried) = said.expect("it goes in");
        assert_eq!(tried.len(), 2, "the only thread and a new one");
        assert_eq!(level.contains("no namespaces"), !namespaces, "{level}");
        let probes: Vec<_> = tried.into_iter().flat_map(|tried| tried.probes.expect("it tried")).collect();
        assert!(probes.len() > 90, "{}", probes.len());
        let mut open: Vec<String> = probes.into_iter().filter(|probe| probe.open).map(|probe| probe.escape).collect();
        open.sort();
        open.dedup();
        (level, open)
    }

    /// Root's own checkout, where namespaces are forbidden and the child's user may not walk to the library.
    #[test]
    fn a_library_that_only_root_can_reach_is_loaded() {
        if !super::is_root() {
            eprintln!("SKIPPED: not root; that a child of root loads a library of root's folder was NOT checked");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder, its owner's alone");
        let inner = folder.path().join("runtime");
        std::fs::create_dir(&inner).expect("a folder");
        let library = inner.join("libonnxruntime.so.1");
        std::fs::copy(tools(true).onnxruntime, &library).expect("a copy");
        let tools = Tools { onnxruntime: library, ..tools(true) };
        super::holds(&selftest::run(&tools, "cpu").expect("by its mount"));
        let play = move || {
            answer(vec![no_namespaces()]);
            selftest::run(&tools, "cpu").expect("by its opened folder")
        };
        super::holds(&std::thread::spawn(play).join().expect("no panic"));
    }

    fn no_namespaces() -> (i64, Vec<SeccompRule>, i32) {
        (libc::SYS_unshare, Vec::new(), libc::EPERM)
    }

    #[test]
    fn a_kernel_without_landlock_is_refused_or_said_so() {
        let old = || vec![no_namespaces(), (libc::SYS_landlock_create_ruleset, Vec::new(), libc::ENOSYS)];
        let error = under(true, old()).expect_err("refused");
        assert!(format!("{error:#}").contains("the sandbox needs landlock"), "{error:#}");
        let report = under(false, old()).expect("goes on");
        assert!(report.level.contains("no namespaces") && report.level.contains("no landlock"), "{}", report.level);
        assert!(open(&report).contains(&"read the supervisor's files"), "{:?}", open(&report));
    }

    #[test]
    fn landlock_that_does_nothing_is_found_out() {
        let lying = vec![no_namespaces(), (libc::SYS_landlock_restrict_self, Vec::new(), 0)];
        let report = under(true, lying).expect("it believes the kernel");
        let open = open(&report);
        for escape in ["read a file of the machine", "read the supervisor's files", "write outside its folder"] {
            assert!(open.contains(&escape), "{escape} is not among {open:?}");
        }
    }

    #[test]
    fn namespaces_alone_keep_the_files_away() {
        let lying = vec![(libc::SYS_landlock_restrict_self, Vec::new(), 0)];
        let report = under(true, lying).expect("it believes the kernel");
        if report.level.contains("no namespaces") {
            eprintln!("SKIPPED: this machine allows no namespaces; that they keep files away was NOT checked");
            return;
        }
        let open = open(&report);
        assert!(!open.iter().any(|escape| escape.contains("file")), "{open:?}");
    }

    #[test]
    fn seccomp_that_does_nothing_is_found_out() {
        let report = under(true, vec![(libc::SYS_seccomp, Vec::new(), 0)]).expect("it believes the kernel");
        let open = open(&report);
        for escape in ["run a program", "start a process by clone", "open a TCP socket", "make new code"] {
            assert!(open.contains(&escape), "{escape} is not among {open:?}");
        }
    }

    #[test]
    fn limits_that_do_nothing_are_found_out() {
        // Setting one; the C library's start-up reads some.
        let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).expect("a condition");
        let rules = vec![SeccompRule::new(vec![sets]).expect("a rule")];
        let report = under(true, vec![(libc::SYS_prlimit64, rules, 0)]).expect("it believes the kernel");
        let open = open(&report);
        for escape in ["take more memory than allowed", "write a file larger than allowed", "dump core"] {
            assert!(open.contains(&escape), "{escape} is not among {open:?}");
        }
    }

    #[test]
    fn a_descriptor_left_open_is_found_out() {
        let report = under(true, vec![(libc::SYS_close_range, Vec::new(), libc::ENOSYS)]).expect("goes on");
        assert_eq!(open(&report), ["use an inherited descriptor"]);
    }
}

/// The threads of a process: number, and a field of the kernel's account of it.
#[cfg(target_os = "linux")]
fn threads(pid: u32, field: &str) -> Vec<(String, String)> {
    let folder = format!("/proc/{pid}/task");
    let ids = std::fs::read_dir(&folder)
        .expect("threads")
        .map(|id| id.expect("one").file_name().into_string().expect("a number"));
    let of = |id: String| {
        let status = std::fs::read_to_string(format!("{folder}/{id}/status")).expect("its account");
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default();
        (id, value.trim().to_owned())
    };
    let mut all: Vec<_> = ids.map(of).collect();
    all.sort_by_key(|(id, _)| (*id != pid.to_string(), id.clone()));
    all
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_is_one_thread_until_its_first_model_and_then_each_has_its_core() {
    let Tools { onnxruntime, runner: program, .. } = tools(true);
    let limits = Limits { memory_bytes: 4 << 30, time: Duration::from_secs(60) };
    let setup = Setup { program, onnxruntime, device: "cpu".into(), threads: 2, limits, strict: true };
    let start = || Runner::start(&setup, Arc::new(AtomicBool::new(false))).expect("the child starts");
    let (mut runner, neighbour) = (start(), start());
    // ONNX Runtime is loaded, and a client of telemetry would be there.
    assert_eq!(threads(runner.pid(), "Name").len(), 1, "{:?}", threads(runner.pid(), "Name"));
    runner.load(Slot::Entry, &files::tiny_model()).expect("a model");
    let cores = || threads(runner.pid(), "Cpus_allowed_list").into_iter().map(|(_, cores)| cores).collect::<Vec<_>>();
    assert_eq!(cores().len(), 2, "the main thread and the session's");
    // A thread places itself once it runs.
    let placed: Vec<String> = runner.cores.iter().map(ToString::to_string).collect();
    let asked = std::time::Instant::now();
    while placed.len() == 2 && cores() != placed {
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}, not {placed:?}", cores());
        std::thread::sleep(Duration::from_millis(5));
    }
    if is_root() {
        let user = |runner: &Runner| threads(runner.pid(), "Uid")[0].1.clone();
        assert_ne!(user(&runner), user(&neighbour), "two models' processes are of one user");
    }
}

/// What binds one thread would leave the others outside.
#[cfg(target_os = "linux")]
#[test]
fn a_process_of_several_threads_does_not_go_in() {
    use upscore_evaluation::{runtime::Device, sandbox};
    let folder = tempfile::tempdir().expect("a folder");
    let library = tools(false).onnxruntime;
    let rules = sandbox::Rules {
        scratch: folder.path(),
        library: &library,
        user: None,
        memory_bytes: 4 << 30,
        cpu_seconds: 60,
        strict: false,
        device: Device::Cpu,
        gpu_minor: None,
    };
    let refused = std::thread::scope(|scope| {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || wait.recv());
        let refused = scope.spawn(|| sandbox::enter(&rules).map(drop)).join().expect("no panic");
        drop(done);
        refused
    });
    let refused = refused.expect_err("it stays outside");
    assert!(refused.to_string().contains("by the one thread of a process"), "{refused:#}");
}

/// A child with little time and memory.
fn tight(seconds: u64, memory_bytes: u64) -> Runner {
    let Tools { onnxruntime, runner: program, .. } = tools(false);
    let limits = Limits { memory_bytes, time: Duration::from_secs(seconds) };
    let setup = Setup { program, onnxruntime, device: "cpu".into(), threads: 1, limits, strict: false };
    Runner::start(&setup, Arc::new(AtomicBool::new(false))).expect("the child starts")
}

/// What running a model on an 8×8 image ends with.
fn verdict(mut runner: Runner, bytes: &[u8]) -> Problem {
    let lr = upscore_evaluation::images::decode_png(&files::png(8, 8, 1), "0901").expect("a picture");
    let ended = runner.load(Slot::Entry, bytes).and_then(|()| upscale(&mut runner, &lr, 1, "0901", 4).map(drop));
    match ended {
        Err(Fault::Model(problem)) => problem,
        other => panic!("{other:?} instead of a verdict on the model"),
    }
}

#[test]
fn too_much_memory_is_the_models_fault() {
    // 200 GB of zeros, made at run time from eight bytes.
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let size = g.integers(&[1, 3, 130_000, 130_000]);
    let zeros = g.node("ConstantOfShape", &[size], &[]);
    let most = g.node("ReduceMax", &[zeros], &[("keepdims", Attribute::Int(0))]);
    let sum = g.add(x, most);
    let sr = g.resize(sum, 4.0, Interpolation::Nearest);
    assert_eq!(verdict(tight(60, 2 << 30), &g.build(sr)).code, "memory_limit");
}

#[test]
fn endless_work_is_the_models_fault() {
    let mut g = GraphBuilder::new(1);
    let mut x = g.input();
    x = g.resize(x, 64.0, Interpolation::Nearest);
    x = g.conv(x, Conv::new(64, 3));
    let (conv, many) = (Conv::new(64, 3), 400);
    let layer = g.layer(64, conv);
    for _ in 0..many {
        x = g.apply(x, conv, layer);
    }
    let problem = verdict(tight(5, 8 << 30), &g.build(x));
    assert_eq!(problem.code, "time_limit", "{problem}");
}

#[test]
fn a_huge_output_is_the_models_fault_and_is_not_read() {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let sr = g.resize(x, 256.0, Interpolation::Nearest);
    let problem = verdict(tight(60, 4 << 30), &g.build(sr));
    assert_eq!(problem.code, "output_shape", "{problem}");
    assert!(problem.message.contains("12582912"), "{problem}");
}

/// A program in the runner's place that greets as one, notes that it was there, and does `then`.
#[cfg(target_os = "linux")]
fn impostor(folder: &Path, then: &str) -> Tools {
    use std::os::unix::fs::PermissionsExt;
    let ready = r#"{"Ready":{"sandbox":"none","onnxruntime":"none","cores":[]}}"#;
    let head = format!("\\{:03o}\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000", ready.len());
    // Takes the whole greeting before it answers: one that dies earlier has not seen a model, which is our fault.
    let hello = "length=$(/usr/bin/head -c 4 | /usr/bin/od -An -tu4); /usr/bin/head -c $((length + 8)) >/dev/null";
    let script = format!(
        "#!/bin/sh\necho started >>'{0}/starts'\nruns=$(/usr/bin/wc -l <'{0}/starts')\ngreet() {{ {hello}; printf '{head}{ready}'; }}\n{then}\n",
        folder.display()
    );
    let path = folder.join("runner");
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    Tools { runner: path, ..tools(false) }
}

/// A whole evaluation, untimed, by this runner; how often the runner was started.
#[cfg(target_os = "linux")]
fn evaluated(then: &str) -> (anyhow::Result<Result<(), Vec<String>>>, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let names = [("0901", 1), ("0902", 2)];
    let job = Job {
        model: put("model.onnx", &files::tiny_model()),
        results: put("results.zip", &files::results(1)),
        baseline: None,
        images: names
            .map(|(name, seed)| EvalImage {
                name: name.into(),
                lr: put(&format!("{name}x4.png"), &files::png(24, 16, seed)),
                hr: None,
            })
            .into(),
        fidelity: fidelity::Settings { channel: fidelity::Channel::Rgb, border: 4, scale: 4 },
        operators: Default::default(),
        ranked: upscore_evaluation::RankedImages::Uploaded,
        input_range: Some(1),
        timing: TimingSettings::default(),
        timed: false,
        limits: Limits::default(),
        device: "cpu".into(),
        tools: impostor(folder.path(), then),
        origin: Origin::default(),
    };
    let outcome = examine(&job, &|_| (), Arc::new(AtomicBool::new(false)));
    let codes = |problems: Vec<Problem>| problems.into_iter().map(|p| p.code.into_owned()).collect();
    let outcome = outcome.map(|measured| measured.map(drop).map_err(codes));
    let starts = std::fs::read_to_string(folder.path().join("starts")).map_or(0, |text| text.lines().count());
    (outcome, starts)
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_is_tried_once_more_and_twice_is_the_models_fault() {
    let real = crate::support::program();
    let real = real.display();
    let crashed = || Err(vec!["model_crashed_runtime".to_owned()]);
    let (always, starts) = evaluated("greet; kill -SEGV $$");
    assert_eq!((always.expect("a verdict"), starts), (crashed(), 2));
    let (once, starts) = evaluated(&format!("[ $runs -gt 1 ] && exec '{real}' runner\ngreet; kill -SEGV $$"));
    assert_eq!((once.expect("a verdict"), starts), (Ok(()), 2));
    let (nonsense, starts) = evaluated("greet; printf 'this is no frame at all, and long enough'; sleep 60");
    assert_eq!((nonsense.expect("a verdict"), starts), (crashed(), 2));
}

#[cfg(target_os = "linux")]
#[test]
fn verdicts_tell_a_violation_from_a_fault_of_ours() {
    let (violation, starts) = evaluated("greet; kill -SYS $$");
    assert_eq!((violation.expect("a verdict"), starts), (Err(vec!["sandbox_violation".to_owned()]), 1));
    let (cpu_time, starts) = evaluated("greet; ulimit -S -t 1; while :; do :; done");
    assert_eq!((cpu_time.expect("a verdict"), starts), (Err(vec!["time_limit".to_owned()]), 1));
    // As the kernel does when memory is short; and a runner that does not come up at all.
    let (killed, starts) = evaluated("greet; kill -KILL $$");
    let error = killed.expect_err("ours");
    assert!(error.to_string().contains("was killed") && starts == 1, "{error:#}");
    let (absent, starts) = evaluated("exit 3");
    assert!(absent.is_err() && starts == 1);
}

/// Every place where a model can hold a tensor, each with a reference to another file in it.
#[test]
fn an_external_reference_is_refused_wherever_it_hides() {
    let outside = |with_location: bool| {
        let entry = StringStringEntryProto { key: "location".into(), value: "/etc/passwd".into() };
        TensorProto {
            name: "weights".into(),
            dims: vec![1],
            data_type: 1,
            // Either sign alone must do: runtimes differ in which they believe.
            external_data: if with_location { vec![entry] } else { Vec::new() },
            data_location: if with_location { 0 } else { DataLocation::External as i32 },
            ..Default::default()
        }
    };
    let attribute = |name: &str, kind: AttributeType| AttributeProto {
        name: name.into(),
        r#type: kind as i32,
        ..Default::default()
    };
    let node = |op: &str, attribute: AttributeProto| NodeProto {
        op_type: op.into(),
        output: vec!["hidden".into()],
        attribute: vec![attribute],
        ..Default::default()
    };
    type Hide = Box<dyn Fn(&mut ModelProto, TensorProto)>;
    let graph_of = |t: TensorProto| GraphProto { name: "inner".into(), initializer: vec![t], ..Default::default() };
    let constant = move |t: TensorProto| {
        node("Constant", AttributeProto { t: Some(t), ..attribute("value", AttributeType::Tensor) })
    };
    let branch = move |op: &'static str, name: &'static str| -> Hide {
        Box::new(move |m, t| {
            let inner = AttributeProto { g: Some(graph_of(t)), ..attribute(name, AttributeType::Graph) };
            m.graph.get_or_insert_default().node.push(node(op, inner));
        })
    };
    let function = |m: &mut ModelProto, inner: NodeProto, default: Vec<AttributeProto>| {
        m.functions.push(FunctionProto {
            name: "Layer".into(),
            domain: "local".into(),
            node: vec![inner],
            attribute_proto: default,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..Default::default()
        });
    };
    let sparse = |values: Option<TensorProto>, indices: Option<TensorProto>| SparseTensorProto {
        values,
        indices,
        dims: vec![9],
    };
    let hides: Vec<(&str, Hide)> = vec![
        ("initializer", Box::new(|m, t| m.graph.get_or_insert_default().initializer.push(t))),
        (
            "sparse values",
            Box::new(move |m, t| m.graph.get_or_insert_default().sparse_initializer.push(sparse(Some(t), None))),
        ),
        (
            "sparse indices",
            Box::new(move |m, t| m.graph.get_or_insert_default().sparse_initializer.push(sparse(None, Some(t)))),
        ),
        ("Constant", Box::new(move |m, t| m.graph.get_or_insert_default().node.push(constant(t)))),
        (
            "Constant, sparse",
            Box::new(move |m, t| {
                let value = AttributeProto {
                    sparse_tensor: Some(sparse(Some(t), None)),
                    ..attribute("sparse_value", AttributeType::SparseTensor)
                };
                m.graph.get_or_insert_default().node.push(node("Constant", value));
            }),
        ),
        (
            "list of tensors",
            Box::new(move |m, t| {
                let value = AttributeProto { tensors: vec![t], ..attribute("list", AttributeType::Tensors) };
                m.graph.get_or_insert_default().node.push(node("Identity", value));
            }),
        ),
        (
            "list of sparse tensors",
            Box::new(move |m, t| {
                let value = AttributeProto {
                    sparse_tensors: vec![sparse(None, Some(t))],
                    ..attribute("list", AttributeType::SparseTensors)
                };
                m.graph.get_or_insert_default().node.push(node("Identity", value));
            }),
        ),
        ("branch of If", branch("If", "then_branch")),
        ("body of Loop", branch("Loop", "body")),
        ("body of Scan", branch("Scan", "body")),
        (
            "list of graphs",
            Box::new(move |m, t| {
                let value = AttributeProto { graphs: vec![graph_of(t)], ..attribute("list", AttributeType::Graphs) };
                m.graph.get_or_insert_default().node.push(node("Identity", value));
            }),
        ),
        (
            "Constant in a branch in a branch",
            Box::new(move |m, t| {
                let inner = GraphProto { node: vec![constant(t)], ..Default::default() };
                let inner = AttributeProto { g: Some(inner), ..attribute("else_branch", AttributeType::Graph) };
                let outer = GraphProto { node: vec![node("If", inner)], ..Default::default() };
                let outer = AttributeProto { g: Some(outer), ..attribute("then_branch", AttributeType::Graph) };
                m.graph.get_or_insert_default().node.push(node("If", outer));
            }),
        ),
        ("function's node", Box::new(move |m, t| function(m, constant(t), Vec::new()))),
        (
            "branch in a function",
            Box::new(move |m, t| {
                let inner = AttributeProto { g: Some(graph_of(t)), ..attribute("then_branch", AttributeType::Graph) };
                function(m, node("If", inner), Vec::new());
            }),
        ),
        (
            "default of a function's attribute",
            Box::new(move |m, t| {
                let default = AttributeProto { t: Some(t), ..attribute("weights", AttributeType::Tensor) };
                function(m, NodeProto { op_type: "Identity".into(), ..Default::default() }, vec![default]);
            }),
        ),
        (
            "training graph",
            Box::new(move |m, t| {
                m.training_info.push(TrainingInfoProto { initialization: Some(graph_of(t)), ..Default::default() });
            }),
        ),
        (
            "training algorithm",
            Box::new(move |m, t| {
                m.training_info.push(TrainingInfoProto { algorithm: Some(graph_of(t)), ..Default::default() });
            }),
        ),
    ];
    let clean = ModelProto::decode(files::tiny_model().as_slice()).expect("a model");
    assert!(model::vet(clean.encode_to_vec()).is_ok());
    for (place, hide) in hides {
        for with_location in [true, false] {
            let mut spoilt = clean.clone();
            hide(&mut spoilt, outside(with_location));
            let problems = model::vet(spoilt.encode_to_vec()).expect_err(place);
            let codes: Vec<&str> = problems.iter().map(|p| p.code.as_ref()).collect();
            assert!(codes.contains(&"onnx_external_data"), "{place}: {codes:?}");
        }
    }
    // The counterpart: with its own bytes the same place is no reference.
    let own = models::vetted(clean.encode_to_vec());
    assert!(!own.merged);
}

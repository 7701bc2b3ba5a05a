//! Fuzzing on stable: `upscore-fuzz [SECONDS [TARGET]]`. Mutates seeds that it makes itself, keeps a mutant that gets an answer not
//! seen before, and stops with exit code 1 at a panic, a second of work on one input, or 256 MiB in use; the input is kept in
//! `artifacts/`. Without coverage it sees less than libFuzzer does; the models are therefore also changed as structures.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::HashSet,
    io::{Cursor, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use prost::Message;
use upscore::{
    demo::networks,
    evaluation::{
        images::{Rgb8, encode_png},
        onnx::{
            build::{Attribute, Conv, GraphBuilder, Random},
            proto::{FunctionProto, ModelProto, NodeProto, OperatorSetIdProto},
        },
    },
};

const MAX_TIME: Duration = Duration::from_secs(1);
const MAX_MEMORY: usize = 256 << 20;
/// Mutants kept beside the seeds.
const MAX_POOL: usize = 2000;
const MAX_INPUT: usize = 1 << 16;

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut failed = false;
    for (name, target) in upscore_fuzz::TARGETS {
        if arguments.get(1).is_none_or(|only| only == name) {
            failed |= !run(name, target, Duration::from_secs(seconds));
        }
    }
    ExitCode::from(u8::from(failed))
}

fn run(name: &str, target: fn(&[u8]) -> String, time: Duration) -> bool {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = clock.as_nanos() as u64;
    let mut random = Random::new(seed);
    let mut pool = seeds(name);
    let mut answers = HashSet::new();
    for input in &pool {
        answers.insert(target(input));
    }
    let (start, mut runs, mut slowest, mut most) = (Instant::now(), 0u64, Duration::ZERO, 0);
    while start.elapsed() < time {
        let input = mutate(name, &pool, &mut random);
        let before = IN_USE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let begun = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = begun.elapsed();
        let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        runs += 1;
        (slowest, most) = (slowest.max(took), most.max(used));
        let fault = match &answer {
            Err(_) => Some("panicked".to_owned()),
            Ok(_) if took > MAX_TIME => Some(format!("took {took:?}")),
            Ok(_) if used > MAX_MEMORY => Some(format!("used {} MiB", used >> 20)),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            let path = format!("artifacts/{name}-{seed:x}-{runs}");
            let kept = std::fs::create_dir_all("artifacts").and_then(|()| std::fs::write(&path, &input));
            eprintln!("{name}: {fault} on run {runs}; the input is in {path} ({kept:?})");
            return false;
        }
        if answer.is_ok_and(|answer| answers.insert(answer)) && pool.len() < MAX_POOL {
            pool.push(input);
        }
    }
    println!(
        "{name}: {runs} runs in {} s, {} different answers, slowest {slowest:?}, most memory {} KiB, no fault",
        time.as_secs(),
        answers.len(),
        most >> 10
    );
    true
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "zip" => vec![archive(true), archive(false), Vec::new()],
        "readme" => vec![
            b"runtime per image [s] : 10.43\nCPU[1] / GPU[0] : 1\nExtra Data [1] / No Extra Data [0] : 1\nOther description : a\nb".into(),
            b"\xef\xbb\xbfruntime : 0,5\r\nCPU[1]/GPU[0]:0\r\n".into(),
            b"\xff\xfer\0u\0n\0t\0i\0m\0e\0:\x001\0".into(),
        ],
        "competition" => vec![
            b"version: 2\ntitle: T\nterms: t.md\npages: [{title: a, file: a.html}]\nphases:\n- {name: p, start: 2030-05-08, \
              end: 05/09/2030 11:59 PM, max_submissions: 3, tasks: [0]}\ntasks: [{index: 0, reference_data: hr.zip}]\n\
              leaderboards: [{title: R, submission_rule: Add, columns: [{title: PSNR, key: psnr, index: 0, sorting: desc}]}]\n\
              fact_sheet: {m: {key: m, type: select, selection: [a, b]}}\n"
                .into(),
            b"title: T\nhas_registration: yes\nhtml: {terms: t.html}\nphases:\n  1: &p {label: a, start_date: 5/8/2030}\n  2: *p\n\
              leaderboard: {leaderboards: {R: &r {label: R}}, columns: {s: {leaderboard: *r, rank: 1, sort: asc}}}\n"
                .into(),
        ],
        "page" => vec![
            b"<h1>a <b>b</b></h1><ul><li>c<ol><li>d</ol></ul><p>e <a href='https://x'>f</a><br>g<blockquote>h</blockquote>".into(),
            b"<table><tr><th>a<td>b</tr><tr><td colspan=2><pre>c</pre></table><script>d</script><code>e</code>&amp;&lt;".into(),
        ],
        "png" => vec![picture(8, 12), picture(1, 1), Vec::new()],
        _ => models(),
    }
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let data = (0..width * height * 3).map(|i| (i * 37 % 256) as u8).collect();
    encode_png(&Rgb8 { width, height, data }).expect("a picture encodes")
}

fn archive(packed: bool) -> Vec<u8> {
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in
        [("0001.png", picture(8, 12)), ("0002x4.png", picture(8, 12)), ("readme.txt", b"runtime: 1".into())]
    {
        writer.start_file(name, options).expect("an entry");
        writer.write_all(&bytes).expect("an entry");
    }
    writer.finish().expect("an archive").into_inner()
}

fn models() -> Vec<Vec<u8>> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let y = g.conv(x, Conv::new(4, 3));
    let scale = g.weights(&[4, 1, 1], &[0.5; 4]);
    let y = g.mul(y, scale);
    let axes = g.integers(&[1]);
    let sum = g.node("ReduceSum", &[y, axes], &[("keepdims", Attribute::Int(1))]);
    let equation = [("equation", Attribute::Text("bchw,bdhw->bcdh"))];
    let product = g.node("Einsum", &[y, sum], &equation);
    let shape = g.node("Shape", &[product], &[]);
    let spread = g.node("Expand", &[sum, shape], &[]);
    let mixed = g.conv_transpose(spread.with_channels(4), Conv::new(4, 4).stride(2).pad(1));
    let mut called = g.model(mixed);
    called.functions.push(FunctionProto {
        domain: "local".into(),
        name: "Block".into(),
        input: vec!["x".into()],
        output: vec!["y".into()],
        node: vec![NodeProto {
            op_type: "Relu".into(),
            input: vec!["x".into()],
            output: vec!["y".into()],
            ..Default::default()
        }],
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        ..FunctionProto::default()
    });
    called.opset_import.push(OperatorSetIdProto { domain: "local".into(), version: 1 });
    if let Some(node) = called.graph.as_mut().and_then(|g| g.node.get_mut(1)) {
        let call = NodeProto { op_type: "Block".into(), domain: "local".into(), ..node.clone() };
        *node = NodeProto { input: vec![node.input[0].clone()], attribute: Vec::new(), ..call };
    }
    vec![networks::tiny(), called.encode_to_vec()]
}

fn mutate(name: &str, pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = pool[random.below(pool.len())].clone();
    let structured = name == "onnx" && random.below(4) > 0;
    for _ in 0..1 + random.below(8) {
        bytes = match structured.then(|| ModelProto::decode(bytes.as_slice()).ok()).flatten() {
            Some(mut model) => {
                change_model(&mut model, random);
                model.encode_to_vec()
            }
            None => change_bytes(bytes, pool, random),
        };
    }
    if name == "png" && random.below(3) > 0 {
        mend_checksums(&mut bytes);
    }
    bytes.truncate(MAX_INPUT);
    bytes
}

fn change_bytes(mut bytes: Vec<u8>, pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    let at = random.below(bytes.len() + 1);
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.bits() as u8,
        2 => bytes.insert(at, random.bits() as u8),
        3 if at < bytes.len() => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let (number, width) = (NUMBERS[random.below(8)], [1, 2, 4, 8][random.below(4)]);
            for (byte, new) in bytes[at..].iter_mut().zip(number.to_le_bytes().iter().take(width)) {
                *byte = *new;
            }
        }
        5 => {
            let other = &pool[random.below(pool.len())];
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let end = (at + random.below(64)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
    }
    bytes
}

fn change_model(model: &mut ModelProto, random: &mut Random) {
    const DIMS: [i64; 8] = [0, 1, 3, 8, -1, 1 << 31, 1 << 32, i64::MAX];
    if random.below(12) == 0 && !model.functions.is_empty() {
        let (from, to) = (random.below(model.functions.len()), random.below(model.functions.len()));
        let mut copy = model.functions[from].clone();
        copy.name = format!("Block{}", random.below(3));
        let call =
            NodeProto { op_type: format!("Block{}", random.below(3)), domain: "local".into(), ..copy.node[0].clone() };
        copy.node.push(call);
        model.functions.insert(to, copy);
        return;
    }
    let Some(graph) = &mut model.graph else { return };
    let (nodes, tensors) = (graph.node.len(), graph.initializer.len());
    if nodes == 0 || tensors == 0 {
        return;
    }
    let (a, b, t) = (random.below(nodes), random.below(nodes), random.below(tensors));
    match random.below(12) {
        0 => graph.node.swap(a, b),
        1 => graph.node[a].op_type = upscore::evaluation::model::ALLOWED_OPERATORS[random.below(110)].into(),
        2 => {
            let name = graph.node[b].output.first().cloned().unwrap_or_default();
            let slot = random.below(5);
            let input = &mut graph.node[a].input;
            input.resize(slot.max(input.len()), String::new());
            input.insert(slot, name);
        }
        3 => {
            let name = graph.initializer[t].name.clone();
            if let Some(input) = graph.node[a].input.last_mut() {
                *input = name;
            }
        }
        4 => drop(graph.node.remove(a)),
        5 => {
            let copy = graph.node[a].clone();
            graph.node.insert(b, copy);
        }
        6 => graph.initializer[t].dims.push(DIMS[random.below(8)]),
        7 => {
            let at = random.below(graph.initializer[t].dims.len() + 1);
            if let Some(dim) = graph.initializer[t].dims.get_mut(at) {
                *dim = DIMS[random.below(8)];
            }
        }
        8 => graph.initializer[t].data_type = random.below(30) as i32,
        9 => graph.node[a].attribute = graph.node[b].attribute.clone(),
        10 => {
            let number = DIMS[random.below(8)];
            for attribute in &mut graph.node[a].attribute {
                attribute.i = number;
                attribute.ints.iter_mut().for_each(|n| *n = number);
            }
        }
        _ => {
            graph.node[a].input.pop();
        }
    }
}

/// Gives every chunk of a PNG its right CRC again, so that what is behind the check is reached.
fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = at.checked_add(8 + length).filter(|end| end + 4 <= bytes.len()) else { return };
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[at + 4..body]);
        bytes[body..body + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = body + 4;
    }
}

//! Plots in a real Chromium: a part of one is looked at larger, with wheel, drag, buttons and keys.

use std::time::Duration;

use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use serde_json::{Value, json};

use crate::support::{
    browser::{Browser, DESKTOP, PHONE},
    showcase,
    web::Web,
};

use super::browser::{click, look_at};

/// For scripts: the picture that is seen, its marks within the part that is seen, and where something stands.
const HELP: &str = "
    const plot = [...document.querySelectorAll('[data-plot] svg')].find((s) => s.getClientRects().length);
    const stop = (mark) => mark.closest('a');
    const marks = [...plot.querySelectorAll('.mark')];
    const seen = marks.filter((mark) => stop(mark).getClientRects().length);
    const middle = (node) => { const box = node.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
    const shape = (mark) => middle(mark.querySelector('circle, rect'));
    const number = (text) => parseFloat(text) * ({ k: 1e3, M: 1e6 }[text.slice(-1)] ?? 1);
    const ticks = [...plot.querySelectorAll('.ticks text')].map((text) => [text, number(text.textContent), text.getAttribute('text-anchor')]);
    const across = ticks.filter(([, , anchor]) => anchor === 'middle').map(([text, value]) => [value, middle(text)[0]]);
    const up = ticks.filter(([, , anchor]) => anchor === 'end').map(([text, value]) => [value, middle(text)[1]]);
";

struct Plot<'a>(&'a Browser);

impl Plot<'_> {
    async fn ask(&self, question: &str) -> Value {
        self.0.script(&format!("{HELP} {question}")).await
    }

    /// The picture as the server drew it, but for where Tab comes in.
    async fn picture(&self) -> String {
        let drawn = self.ask("return plot.innerHTML.replaceAll(/ tabindex=\"-?[0-9]\"/g, '')").await;
        drawn.as_str().expect("a text").to_owned()
    }

    /// The picture is larger by so many per cent, and still.
    async fn is_at(&self, level: &str) {
        let what = format!("the plot is at {level}");
        self.0.until(&what, async |b: &Browser| b.texts(".plot-bar output").await == [level]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Every mark that is seen stands where the axes have its figures, within the frame and apart from the others' labels;
    /// how many are seen, of how many.
    async fn is_right(&self) -> [u64; 2] {
        let found = self
            .ask(
                "const log = plot.dataset.zoom === 'log';
                const place = (ticks, of, value) => {
                    const [[low, from], [high, to]] = [ticks[0], ticks.at(-1)];
                    return from + (of(value) - of(low)) / (of(high) - of(low)) * (to - from);
                };
                const [left, top, right, bottom] = plot.dataset.frame.split(' ').map(Number);
                const scale = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
                const frame = plot.getBoundingClientRect();
                const off = seen.map((mark) => {
                    const [x, y] = mark.dataset.at.split(' ').map(Number);
                    const [at_x, at_y] = shape(mark);
                    // One below the picture stands at its edge.
                    const below = y < Number(plot.dataset.y.split(' ')[0]);
                    return below ? 0 : Math.max(
                        Math.abs(at_x - place(across, log ? Math.log10 : Number, x)),
                        // A tick's line of text is a little above its middle.
                        Math.abs(at_y - place(up, Number, y)) - 2);
                });
                const outside = seen.filter((mark) => {
                    const [x, y] = shape(mark).map((at, i) => (at - [frame.x, frame.y][i]) / scale);
                    return x < left - 1 || x > right + 1 || y < top - 1 || y > bottom + 1;
                }).length;
                const boxes = seen.map((mark) => mark.querySelector('text')).filter((text) => text?.getClientRects().length)
                    .map((text) => text.getBoundingClientRect());
                const over = boxes.filter((a, i) => boxes.slice(i + 1).some((b) =>
                    a.left < b.right - 4 && b.left < a.right - 4 && a.top < b.bottom - 4 && b.top < a.bottom - 4)).length;
                return [seen.length, marks.length, Math.max(0, ...off), outside, over, across.length, up.length];",
            )
            .await;
        let figure = |i: usize| found[i].as_f64().unwrap_or(f64::NAN);
        assert!(figure(2) < 1.0, "marks are off by pixels: {found}");
        assert_eq!((figure(3), figure(4)), (0.0, 0.0), "marks outside, labels over labels: {found}");
        assert!(figure(5) >= 2.0 && figure(6) >= 2.0, "ticks: {found}");
        [0, 1].map(|i| found[i].as_u64().expect("a number"))
    }

    async fn key(&self, key: &str, shift: bool) -> Value {
        let press = "const at = plot.contains(document.activeElement) ? document.activeElement : plot.querySelector('a[tabindex=\"0\"]');
            at.focus({ preventScroll: true });";
        let send = format!(
            "at.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', shiftKey: {shift}, bubbles: true }}))"
        );
        self.ask(&format!("{press} {send}; return document.activeElement.getAttribute('aria-label')")).await
    }

    async fn drag(&self, x: f64, y: f64) {
        let from =
            self.ask("plot.scrollIntoView({ block: 'center' }); return middle(plot.querySelector('.grid'))").await;
        let [from_x, from_y] = [0, 1].map(|i| from[i].as_f64().expect("a place").round());
        let after = Some(Duration::from_millis(80));
        let mouse = MouseActions::new("mouse".into())
            .then(PointerAction::MoveTo { duration: None, x: from_x, y: from_y })
            .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
            .then(PointerAction::MoveBy { duration: after, x: x / 2.0, y: y / 2.0 })
            .then(PointerAction::MoveBy { duration: after, x: x / 2.0, y: y / 2.0 })
            .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
        self.0.client.perform_actions(mouse).await.expect("dragged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_plot_is_looked_at_larger() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let url = web.listen().await;
    let board = format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    for (look, query) in [(DESKTOP, ""), (PHONE.dark(), "size=params&scale=linear&cost=params&lang=zh-CN")] {
        let browser = Browser::open(look).await;
        browser.goto(&format!("{board}?{query}")).await;
        let plot = Plot(&browser);
        browser.find(".plot-bar button").await;
        let drawn = plot.picture().await;
        assert!(!drawn.contains("transform") && drawn.contains("↓ 26.31"));
        plot.is_right().await;

        // Buttons: twice as large each time, and never a part without a mark.
        click(&browser, ".plot-bar button:nth-of-type(2)").await;
        click(&browser, ".plot-bar button:nth-of-type(2)").await;
        plot.is_at("400 %").await;
        plot.is_right().await;
        assert_ne!(plot.picture().await, drawn);
        click(&browser, ".plot-bar button:nth-of-type(1)").await;
        plot.is_at("200 %").await;
        for level in ["400 %", "800 %", "1600 %", "3200 %"] {
            click(&browser, ".plot-bar button:nth-of-type(2)").await;
            plot.is_at(level).await;
            assert!(plot.is_right().await[0] > 0, "nothing to see at {level}");
        }
        click(&browser, ".plot-bar button:nth-of-type(3)").await;
        plot.is_at("100 %").await;
        assert_eq!(plot.picture().await, drawn, "the whole is as it was");
        let off = browser.texts(".plot-bar [aria-disabled=true]").await;
        assert_eq!(off.len(), 2, "nothing is larger than the whole: {off:?}");

        // Keys: round the mark that has the focus, and no arrow leads to what is out of sight.
        let first = plot.key("Escape", false).await;
        let before = plot.ask("return shape(document.activeElement)").await;
        plot.key("+", false).await;
        plot.key("+", false).await;
        let same = plot.key("+", false).await;
        plot.is_at("800 %").await;
        assert_eq!(first, same);
        let after = plot.ask("return shape(document.activeElement)").await;
        for i in [0, 1] {
            let moved = after[i].as_f64().expect("a place") - before[i].as_f64().expect("a place");
            assert!(moved.abs() < 1.5, "the mark stays where it is: {before} {after}");
        }
        let [seen, all] = plot.is_right().await;
        assert!(seen >= 1 && seen < all, "{seen} of {all}");
        assert_eq!(
            plot.ask("return document.querySelector('.tip').hidden").await,
            false,
            "its figures stand beside it"
        );
        let reached = plot
            .ask(
                "const names = (list) => list.map((mark) => mark.dataset.name).sort();
                const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
                const went = new Set();
                for (let i = 0; i < 20; i += 1) press('ArrowLeft');
                for (let i = 0; i < 20; i += 1) { went.add(document.activeElement.querySelector('.mark')); press('ArrowRight'); }
                return [names([...went]), names(seen)]",
            )
            .await;
        assert_eq!(reached[0], reached[1]);
        plot.key("ArrowLeft", true).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        plot.is_right().await;
        plot.key("0", false).await;
        plot.is_at("100 %").await;
        assert_eq!(plot.picture().await, drawn);

        // The wheel scrolls the page; with Ctrl it is the plot's, and what is under the pointer stays there.
        let turn = "const [x, y] = shape(marks.find((mark) => mark.classList.contains('baseline')));
            const turn = new WheelEvent('wheel', { deltaY: -120, ctrlKey: arguments[0], clientX: x, clientY: y, bubbles: true, cancelable: true });
            plot.dispatchEvent(turn);
            const [now_x, now_y] = shape(marks.find((mark) => mark.classList.contains('baseline')));
            return [turn.defaultPrevented, Math.hypot(now_x - x, now_y - y) < 1]";
        let turn = async |ctrl: bool| {
            browser.client.execute(&format!("{HELP} {turn}"), vec![ctrl.into()]).await.expect("turned")
        };
        assert_eq!(turn(false).await, json!([false, true]));
        assert_eq!(browser.texts(".plot-bar output").await, ["100 %"]);
        for _ in 0..4 {
            assert_eq!(turn(true).await, json!([true, true]));
        }
        plot.is_right().await;

        // A drag moves everything alike and opens no entry.
        let at = browser.client.current_url().await.expect("an address");
        let where_ = "return [across, up, shape(marks.find((mark) => mark.classList.contains('baseline')))]";
        plot.ask("plot.scrollIntoView({ block: 'center' })").await;
        let before = plot.ask(where_).await;
        plot.drag(-24.0, -16.0).await;
        let after = plot.ask(where_).await;
        assert_ne!(before[0], after[0]);
        let moved = |i: usize| after[2][i].as_f64().expect("a place") - before[2][i].as_f64().expect("a place");
        assert!((moved(0) + 24.0).abs() < 1.5 && (moved(1) + 16.0).abs() < 1.5, "{before} {after}");
        plot.is_right().await;
        assert_eq!(browser.client.current_url().await.expect("an address"), at);
        look_at(&browser, "plot-larger").await;

        // A board that is sorted anew shows the same part; the whole of it is whole.
        let level = browser.texts(".plot-bar output").await;
        browser.script("document.querySelector('.plot-bar').dataset.old = 'yes'").await;
        click(&browser, "[data-key=sort-psnr]").await;
        browser.until("it is sorted", async |b: &Browser| b.texts(".plot-bar:not([data-old])").await.len() == 1).await;
        assert_eq!(browser.texts(".plot-bar output").await, level);
        plot.is_right().await;
        click(&browser, ".plot-bar button:nth-of-type(3)").await;
        plot.is_at("100 %").await;
        plot.is_right().await;
        assert!(!plot.picture().await.contains("transform"));

        // Over time.
        browser.goto(&format!("{board}/study")).await;
        browser.find(".plot-bar button").await;
        let drawn = plot.picture().await;
        let days = "return [...plot.querySelectorAll('.ticks text')].slice(-2).map((text) => text.textContent)";
        plot.key("+", false).await;
        plot.key("+", false).await;
        plot.is_at("400 %").await;
        let part = plot.ask("return [seen.length, marks.length]").await;
        assert!(part[0].as_u64() < part[1].as_u64(), "{part}");
        assert_eq!(plot.ask(days).await.as_array().expect("two").len(), 2);
        assert_ne!(plot.picture().await, drawn);
        plot.key("0", false).await;
        plot.is_at("100 %").await;
        assert_eq!(plot.picture().await, drawn);
        look_at(&browser, "study-time").await;
        browser.close().await;
    }
}

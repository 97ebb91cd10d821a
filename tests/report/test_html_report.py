"""The report as files, and in a real browser: what it shows is what the stores hold."""

import base64
import dataclasses
import io
import json
import re
import sys
import time

import numpy as np
import pytest
import torch
import warm_process
from browser import asked_addresses, browser, complaints, open_page
from command_line import ROOT, environment, explain
from PIL import Image
from planted import box_region, planted_sample, write_photo

from fido.records import Explanation, RegionEdit
from fido.report.html.coded_map import coded_map
from fido.report.html.photos import photos_of, runs_of
from fido.report.html.report import write_report
from fido.runs.store import ResultsStore

EVIL = "<script>window.evil = 1</script>"
NAMES = [f"a {EVIL}", f'b "><img src=x onerror="window.evil=2"> $x_ [b]&amp; {"long " * 50}']
AREA = 192 / 1920  # of the planted box


def save(store, image_id, target, saliency, threshold=0.5, seed=0, counterfactual=None, **row):
    sample = dataclasses.replace(planted_sample(image_id=image_id), target=target)
    edit = RegionEdit(sample.image, torch.zeros_like(sample.image), torch.eye(3, 2).flip(1))
    explanation = Explanation(
        image_id,
        target,
        saliency,
        threshold,
        history={"loss": torch.linspace(2, -1, 7)},
        counterfactual=counterfactual,
        cost={"forward": 3},
        seed=seed,
    )
    about = {"id": image_id, "status": "explained", "label": 1, "target": target, "seed": seed}
    store.save(sample, explanation, {**about, "target_name": NAMES[target], **row}, edit)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """30 photos by two methods; one has a failure, one photo an id that is no file name."""
    folder = tmp_path_factory.mktemp("stores")
    settings = {"explainer": {"_target_": "fido.explainers.fido.Fido", "steps": 3, "noise": "no"}}
    other = {"explainer": {"_target_": "fido.explainers.smoothgrad.SmoothGrad", "noise": EVIL}}
    a, b = ResultsStore(folder / "a", settings), ResultsStore(folder / "b", other)
    for store in (a, b):
        store.save_class_names(NAMES)
    ramp = torch.linspace(0, 1, 48).expand(1, 40, 48).contiguous()
    for i in range(29):
        save(a, f"img{i:02d}", i % 2, box_region().float(), p_original=i / 29, p_kept=0.5)
        if i < 28:
            save(b, f"img{i:02d}", i % 2, 4 * ramp - 1, threshold=1.5)
    save(a, f"../{EVIL}#%", 1, ramp, counterfactual=torch.zeros(3, 40, 48, dtype=torch.uint8))
    b.save_not_explained({"id": "img28", "status": "failed", "reason": f"no {EVIL}"})
    for store in (a, b):
        store.write_scores()
    return {f"fido {EVIL}": a, "smooth": b}


@pytest.fixture(scope="module")
def report(stores, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "r", stores, title=f"all {EVIL}")


@pytest.fixture(scope="module")
def driver(report):
    with browser() as opened:
        yield opened


@pytest.fixture
def gallery(driver, report):
    driver.get("about:blank")
    open_page(driver, report)
    wait(lambda: drawn(driver))
    return driver


def wait(condition, seconds=20):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def find(driver, css):
    return driver.find_elements("css selector", css)


def by_id(driver, name):
    return driver.find_element("id", name)


def choose(driver, name, text):
    (option,) = [o for o in find(driver, f"[id='{name}'] option") if o.text == text]
    option.click()


def drawn(driver):
    return find(driver, "canvas[data-share]")


def shares(driver):
    return [float(canvas.get_dom_attribute("data-share")) for canvas in drawn(driver)]


def titles(driver):
    return [title.text for title in find(driver, "#results h3")]


def set_slider(driver, name, value):
    script = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    driver.execute_script(script, name, value)


# The files.


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.25, 0.5, 0.7501, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["noise", "constant", "spikes", "signed", "steps"])
def test_the_region_in_8_bits_is_the_region_at_every_threshold(kind, threshold):
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(1, 16, 20, generator=generator)
    values = {
        "noise": values,
        "constant": torch.full_like(values, 0.5),
        "spikes": torch.where(values > 0.99, 1000 * values, 1e-3 * values),
        "signed": 8 * values - 4,
        "steps": (values * 4).round() / 4,
    }[kind]
    values[0, 0, 0] = float("nan")
    one = Explanation("a", 0, values, threshold)
    coded = coded_map(one)
    png = base64.b64decode(coded["png"].removeprefix("data:image/png;base64,"))
    levels = np.asarray(Image.open(io.BytesIO(png))).astype(int)
    np.testing.assert_array_equal(levels > coded["cut"], one.region[0].numpy())
    assert coded["low"] < coded["high"]
    json.dumps(coded, allow_nan=False)


def test_the_texts_of_users_are_text_in_every_page(report):
    pages = [report, *report.parent.glob("photos/*.html")]
    assert len(pages) == 31
    for page in pages:
        text = page.read_text()
        assert "<script>w" not in text
        assert "<img src=x" not in text
        assert set(re.findall(r"<script[^>]*>", text)) <= {
            f'<script src="{root}{name}">'
            for root in ("", "../")
            for name in ("report.js", "data/colours.js", "data/index.js")
        }


def test_everything_that_pages_name_is_there_and_nothing_else(report, stores):
    folder = report.parent
    for page in [report, *folder.glob("photos/*.html")]:
        for place in re.findall(r'(?:src|href)="([^"#:]+?)(?:#[^"]*)?"', page.read_text()):
            assert (page.parent / place.replace("%23", "#")).exists() or "%" in place, place
    content = json.loads((folder / "data/index.js").read_text()[len("Fido.open(") : -3])
    assert len(content["results"]) == 30 + 29
    used = {name for row in content["results"] for name in row["pictures"].values()}
    assert {path.name for path in folder.glob("images/*")} == used
    assert {path.name for path in folder.glob("thumbs/*")} == used
    assert len(used) == 2, "equal pictures are one file: the photo, which is also kept, and black"


def test_only_what_changed_is_written_again_and_what_is_gone_goes(tmp_path):
    store = ResultsStore(tmp_path / "run")
    for name in "abc":
        save(store, name, 1, box_region().float())
    index = write_report(tmp_path / "report", {"run": store})
    first, second, third = photos_of(runs_of({"run": store}))
    pages = {p.name: index.parent / "photos" / f"{p.name}.html" for p in (first, second, third)}
    before = {name: page.stat().st_mtime_ns for name, page in pages.items()}
    third.entries[0].path.unlink()
    write_report(tmp_path / "report", {"run": store})
    assert pages[first.name].stat().st_mtime_ns == before[first.name]
    assert pages[second.name].stat().st_mtime_ns > before[second.name]  # its neighbour is gone
    assert not pages[third.name].exists()
    assert not (index.parent / "data" / f"{third.name}.js").exists()
    assert "2 photos" in index.read_text()


def test_a_page_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / "index.html").write_text("<html>mine</html>")
    with pytest.raises(ValueError, match="is no report of fido; give another folder"):
        write_report(tmp_path, {})
    assert (tmp_path / "index.html").read_text() == "<html>mine</html>"


def test_own_files_that_are_damaged_end_no_report(tmp_path):
    store = ResultsStore(tmp_path / "run", {"explainer": {"_target_": "a.b.C"}})
    save(store, "a", 1, box_region().float())
    index = write_report(tmp_path / "report", {"run": store}, [tmp_path / "run"])
    whole = {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}
    foreign = {"this_run": [], "packages": 3, "metrics": {"m": 5}}
    for damage in (b"", b"null", b"[1]", b"\xff\xfe", b"[" * 99_999, json.dumps(foreign).encode()):
        for name in ("summary.json", "env.json", "evaluation/summary.json"):
            (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "run" / name).write_bytes(damage)
        for path in (index.parent / "data").glob("*.js"):
            path.write_bytes(damage)
        index.write_bytes(b"")
        write_report(tmp_path / "report", {"run": store}, [tmp_path / "run"])
        assert {path: path.read_bytes() for path in whole} == whole


def test_the_table_of_rows_has_means_and_intervals(report):
    text = report.read_text()
    assert "30 explained" in text
    assert "28 explained, 1 failed" in text
    mean = np.mean([i / 29 for i in range(29)])
    assert re.search(rf"<td>{mean:.4g} \[0\.\d+, 0\.\d+\]</td>", text)


# In the browser.


def test_the_gallery_draws_its_maps_without_asking_any_host(gallery):
    wait(lambda: len(drawn(gallery)) >= 4)
    assert by_id(gallery, "shown").text == "1 to 24 of 59"
    asked = asked_addresses(gallery)
    assert any(address.startswith("file:") and "/data/" in address for address in asked)
    assert {a.partition(":")[0] for a in asked} <= {"file", "data", "about"}
    assert complaints(gallery) == []
    assert gallery.execute_script("return window.evil") is None
    assert EVIL in find(gallery, "h1")[0].text
    choose(gallery, "filter-run", f"fido {EVIL}")
    assert f"class {NAMES[1]}" in find(gallery, "#results .about")[0].text.replace("\n", " ")


def test_the_slider_moves_region_and_area(gallery):
    choose(gallery, "filter-run", f"fido {EVIL}")
    by_id(gallery, "search").send_keys("img0")
    wait(lambda: titles(gallery)[0] == "img00" and shares(gallery))
    assert shares(gallery)[0] == pytest.approx(AREA, abs=1e-6)
    assert "threshold 0.5, region 10.0 %" in find(gallery, "figure.map figcaption")[0].text
    by_id(gallery, "search").clear()
    by_id(gallery, "search").send_keys("#%")
    wait(lambda: len(titles(gallery)) == 1 and shares(gallery))
    for value in (0, 20, 75, 100):  # a ramp: the share above x is 1 - x
        set_slider(gallery, "cut", value)
        wait(lambda v=value: abs(shares(gallery)[0] - (1 - v / 100)) < 0.03)
    choose(gallery, "cut-by", "strongest share of pixels")
    set_slider(gallery, "cut", 25)
    wait(lambda: shares(gallery)[0] == pytest.approx(0.25, abs=0.001))
    assert "top 25.0 %" in by_id(gallery, "cut-shown").text
    by_id(gallery, "reset").click()
    wait(lambda: shares(gallery)[0] == pytest.approx(0.5, abs=0.001))
    assert complaints(gallery) == []


def test_sorting_filters_and_pages(gallery):
    choose(gallery, "sort", "p(class) of the photo")
    assert titles(gallery)[:3] == ["img00", "img01", "img02"]
    by_id(gallery, "descending").click()
    assert titles(gallery)[:3] == ["img28", "img27", "img26"]
    choose(gallery, "filter-status", "failed")
    assert titles(gallery) == ["img28"]
    assert find(gallery, "#results .failure")[0].text == f"failed: no {EVIL}"
    choose(gallery, "filter-status", "all")
    choose(gallery, "filter-s.explainer.noise", EVIL)
    assert by_id(gallery, "shown").text == "1 to 24 of 29"
    by_id(gallery, "next").click()
    assert by_id(gallery, "shown").text == "25 to 29 of 29"
    assert not by_id(gallery, "next").is_enabled()
    gallery.refresh()
    assert by_id(gallery, "shown").text == "25 to 29 of 29", "the address remembers"
    by_id(gallery, "search").send_keys("nothing such")
    assert by_id(gallery, "shown").text == "no result matches"


def test_keys_turn_pages_and_reach_every_control(gallery):
    from selenium.webdriver.common.keys import Keys

    body = gallery.find_element("tag name", "body")
    body.send_keys(Keys.ARROW_RIGHT)
    assert by_id(gallery, "shown").text == "25 to 48 of 59"
    body.send_keys(Keys.ARROW_LEFT)
    assert by_id(gallery, "shown").text == "1 to 24 of 59"
    body.send_keys("/")
    assert gallery.switch_to.active_element.get_dom_attribute("id") == "search"
    reached = set()
    for _ in range(25):
        gallery.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(gallery.switch_to.active_element.get_dom_attribute("id"))
    assert {"sort", "descending", "cut-by", "cut", "colour-by", "reset", "next"} <= reached
    by_id(gallery, "cut").send_keys(Keys.ARROW_RIGHT)
    assert by_id(gallery, "cut-shown").text == "0.505 of the scale"
    unnamed = "return [...document.querySelectorAll('input, select, button')].filter(e => "
    unnamed += "!(e.textContent.trim() || e.labels.length)).map(e => e.id)"
    assert gallery.execute_script(unnamed) == []


def test_a_photo_compares_its_methods_on_one_scale(gallery, report):
    find(gallery, "#results h3 a")[1].click()
    wait(lambda: len(drawn(gallery)) == 2)
    assert find(gallery, "h1")[0].text == "img00"
    assert [title.text for title in find(gallery, ".result h2")] == [f"fido {EVIL}", "smooth"]
    assert shares(gallery)[0] == pytest.approx(AREA, abs=1e-6)
    scales = [text.text for text in find(gallery, ".map .scale")]
    assert scales[0] == "probability: 0 to 1"
    assert scales[1].startswith("signed value: -3 to 3")
    set_slider(gallery, "cut", 10)
    choose(gallery, "cut-by", "strongest share of pixels")
    choose(gallery, "colour-by", "percentile, the same for all maps")
    assert shares(gallery)[0] == pytest.approx(AREA, abs=1e-6)
    assert shares(gallery)[1] == pytest.approx(4 / 48, abs=1e-6), "four columns of the ramp"
    assert {text.text for text in find(gallery, ".map .scale")} == {
        "percentile among the pixels: 0 to 100 %"
    }
    for summary in find(gallery, "summary"):
        summary.click()
    text = gallery.find_element("tag name", "main").text
    assert "loss: 2 to -1 in 7 steps" in text
    assert "explainer.noise" in text
    assert all(image.get_dom_attribute("alt") for image in find(gallery, "img"))
    raw = [a for a in find(gallery, ".result a") if "raw map" in a.text]
    assert raw[0].get_property("href").endswith("img00.class0.seed0.safetensors")
    assert complaints(gallery) == []
    gallery.find_element("tag name", "body").send_keys("\ue014")  # right arrow
    wait(lambda: find(gallery, "h1")[0].text == "img01")


def contrast(one, other):
    """Of two colours `rgb(r, g, b)`, WCAG 2.1."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_in_light_and_dark(driver, report, dark):
    value = "dark" if dark else "light"
    feature = {"name": "prefers-color-scheme", "value": value}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    open_page(driver, report)
    read = "const s = getComputedStyle(arguments[0]); return s[arguments[1]]"
    body = driver.find_element("tag name", "body")
    back = driver.execute_script(read, body, "backgroundColor")
    for css in ("body", ".note", "#results h3 a", "#results figcaption"):
        colour = driver.execute_script(read, find(driver, css)[0], "color")
        assert contrast(colour, back) >= 4.5, (css, colour, back)


# The command.


def test_a_sweep_ends_with_its_report_and_report_py_makes_one_of_several(tmp_path):
    write_photo(tmp_path / "photos" / "a.png")
    line = ["data=folder", "data.path=photos", "logger=none", "figures=false"]
    swept = explain(tmp_path, *line, "explainer.steps=2", "seed=0,1", "hydra.sweep.dir=sweep")
    assert swept.returncode == 0, swept.stderr
    text = (tmp_path / "sweep/report/index.html").read_text()
    assert f"report: {tmp_path / 'sweep/report/index.html'}" in swept.stdout
    assert "1 photo, 2 runs, 2 results" in text
    assert [*tmp_path.rglob("index.html")] == [tmp_path / "sweep/report/index.html"]
    single = explain(tmp_path, *line, "explainer.steps=2", "hydra.run.dir=run")
    assert "1 photo, 1 run, 1 result." in (tmp_path / "run/report/index.html").read_text()
    assert "report: " in single.stdout
    line = [sys.executable, ROOT / "report.py", "store=sweep,run", "figures=false", "folder=both"]
    made = warm_process.run(line, tmp_path, environment())
    assert made.returncode == 0, made.stderr
    assert "1 photo, 3 runs, 3 results" in (tmp_path / "both/index.html").read_text()


def test_settings_that_one_method_alone_has_are_no_filters(tmp_path):
    fido = {"_target_": "fido.explainers.fido.Fido", "steps": 3, "samples": 2}
    cam = {"_target_": "fido.explainers.grad_cam.GradCam", "layer": None}
    runs = {"a": fido, "b": {**fido, "steps": 9}, "c": cam}
    found = runs_of({n: ResultsStore(tmp_path / n, {"explainer": one}) for n, one in runs.items()})
    assert [dict(run.differs) for run in found] == [
        {"explainer._target_": fido["_target_"], "explainer.steps": "3"},
        {"explainer._target_": fido["_target_"], "explainer.steps": "9"},
        {"explainer._target_": cam["_target_"], "explainer.steps": ""},
    ]

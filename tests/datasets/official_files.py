"""Tiny data sets in the official formats, with content of our own."""

import json

CHARADES_COLUMNS = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
)


def charades_row(video_id, actions, length="30.0"):
    script = '"Someone opens a box, then ""sings"".\nIt rains."'  # commas, quotes, a line break
    return f"{video_id},S1,Kitchen,6,7,Yes,{script},box;cup,They do; and go.,{actions},{length}"


def write_charades(folder, train=None, test=None, n_classes=4):
    folder.mkdir(parents=True, exist_ok=True)
    train = train or [
        charades_row("AAAA1", "c000 0.50 4.00;c003 3.00 30.5"),
        charades_row("AAAA2", ""),
    ]
    test = test or [charades_row("BBBB1", "c001 11.90 21.20;c002 5.00 5.00;c000 9.00 7.00")]
    for split, rows in (("train", train), ("test", test)):
        text = "\n".join([CHARADES_COLUMNS, *rows]) + "\n"
        (folder / f"Charades_v1_{split}.csv").write_text(text)
    names = "".join(f"c{n:03d} Doing thing {n}\n" for n in range(n_classes))
    (folder / "Charades_v1_classes.txt").write_text(names)
    return folder


def write_breakfast(folder, videos=None, mapping="0 SIL\n1 take_cup\n2 pour_milk\n"):
    labels = folder / "groundTruth"
    labels.mkdir(parents=True, exist_ok=True)
    (folder / "mapping.txt").write_text(mapping)
    videos = videos or {
        "P03_cam01_P03_cereals": ["SIL"] * 15 + ["take_cup"] * 30 + ["SIL"] * 15,
        "P12_stereo01_P12_milk": ["pour_milk"] * 30,
        "P47_webcam02_P47_milk": ["SIL", "pour_milk"] * 15,
    }
    for name, frames in videos.items():
        (labels / f"{name}.txt").write_text("".join(f"{label}\n" for label in frames))
    return folder


MULTITHUMOS_CLASSES = ("BaseballPitch", "Run", "Sit")


def write_multithumos(folder, files=None):
    labels = folder / "annotations"
    labels.mkdir(parents=True, exist_ok=True)
    lines = (f"{number} {name}\n" for number, name in enumerate(MULTITHUMOS_CLASSES, start=1))
    (folder / "class_list.txt").write_text("".join(lines))
    files = files or {
        "BaseballPitch": " video_validation_0000001 72.80 76.40  \n"
        "video_test_0000002 4.00 5.90\n\n",
        "Run": "video_validation_0000001 1.50 5.40\n",
        "Sit": "",
    }
    for name, text in files.items():
        (labels / f"{name}.txt").write_text(text)
    return folder


def multithumos_entries():
    return {
        "video_validation_0000001": {
            "subset": "training",
            "duration": 80.5,
            "actions": [[1, 72.8, 76.4], [2, 1.5, 5.4]],
        },
        "video_test_0000002": {"subset": "testing", "duration": 9, "actions": [[1, 4.0, 5.9]]},
    }


def write_json(folder, entries, name="multithumos.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(entries))
    return folder


KINETICS_HEADER = "label,youtube_id,time_start,time_end,split"


def write_kinetics(folder, train=None, val=None):
    folder.mkdir(parents=True, exist_ok=True)
    train = train or [
        "making tea,-a_bC_dEfG1,84,94,train",
        "making tea,-a_bC_dEfG1,120,130,train",
        '"salsa, dancing",xyz,0,10,train',
    ]
    val = val or ["making tea,uvw,5,15,val"]
    for name, rows in (("train", train), ("validate", val)):
        (folder / f"{name}.csv").write_text("\n".join([KINETICS_HEADER, *rows]) + "\n")
    return folder

"""The kinds of logs that the field publishes: the text of each, and its rows or the one line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.errors import DataError
from ddrs.runs.logs import read_log, read_published
from ddrs.runs.rows import LoggedRow

R = LoggedRow
A = R(0, 3, 3, 0.644, True)
B = R(1, 8, 2, 0.1, False)
C = R(2, 5, -1, 0.0, False)

KINDS = {
    "spaces around tabs, linf, more columns": (
        "idx \t label \t predict \t linf_radius \t prob_lb \t correct\n"
        "0 \t 3 \t 3 \t 0.644 \t 0.99 \t 1\n1 \t 8 \t 2 \t 0.1 \t 0.6 \t 0\n",
        [A, B],
        "linf",
    ),
    "commas, no index, no time": ("label,predict,radius,correct\n3,3,0.644,1\n8,2,0.1,0\n", [A, B]),
    "semicolons": ("idx;label;predict;radius\n0;3;3;0.644\n", [A]),
    "spaces": ("idx label predict radius correct\n0 3 3 0.644 1\n1  8  2  0.1  0\n", [A, B]),
    "no header, 5 columns with a time": ("3 3 0.644 1 0.9\n", [R(0, 3, 3, 0.644, True, 0.9)]),
    "no header, 5 columns with an index": ("0\t3\t3\t0.644\t1\n1\t8\t2\t0.1\t0\n", [A, B]),
    "no header, 6 columns": (
        "4\t3\t3\t0.644\t1\t0:00:13.5\n",
        [R(4, 3, 3, 0.644, True, 13.5)],
    ),
    "no header, 3 columns": ("3,3,0.644\n8,2,0.1\n5,-1,0.0\n", [A, B, C]),
    "no header, 4 columns with an index": ("0,3,3,0.644\n1,8,2,0.1\n", [A, B]),
    "no header, 4 columns with correct": ("3,3,0.644,1\n8,2,0.1,0\n", [A, B]),
    "a running total": (
        "label,predict,radius,correct\n3,3,1,1\n3,4,1,1\n3,3,1,2\n3,3,1,3\n3,-1,0,3\n",
        [
            R(0, 3, 3, 1.0, True),
            R(1, 3, 4, 1.0, False),
            R(2, 3, 3, 1.0, True),
            R(3, 3, 3, 1.0, True),
            R(4, 3, -1, 0.0, False),
        ],
    ),
    # several processes, each with a total of its own, put one behind the other
    "running totals of parts": (
        "idx\tlabel\tpredict\tradius\tcorrect\n"
        "0\t3\t3\t1\t1\n2\t3\t3\t1\t2\n1\t8\t2\t1\t0\n3\t8\t8\t1\t1\n",
        [
            R(0, 3, 3, 1.0, True),
            R(2, 3, 3, 1.0, True),
            R(1, 8, 2, 1.0, False),
            R(3, 8, 8, 1.0, True),
        ],
    ),
    "a total, and whether it is right": (
        "idx\tlabel\tpredict\tradius\tcorrect\tright\n0\t3\t3\t1\t1\tTrue\n1\t3\t3\t1\t2\tTrue\n",
        [R(0, 3, 3, 1.0, True), R(1, 3, 3, 1.0, True)],
    ),
    "truth values": (
        "idx,label,predict,radius,correct\n0,3,3,0.644,True\n1,8,2,0.1,False\n",
        [A, B],
    ),
    "predict of -2, radius of -1": ("label,predict,radius\n3,-2,-1\n", [R(0, 3, -1, 0.0, False)]),
    "abstentions without a radius": (
        "label,predict,radius\n3,-1,nan\n3,-1,\n",
        [R(0, 3, -1, 0.0, False), R(1, 3, -1, 0.0, False)],
    ),
    "a column of abstentions": (
        "sigma,img_idx,label,pred,abstain,radius,count,n\n"
        "0.25,0,3,3,0,0.644,99,100\n0.25,1,8,8,1,0.0,40,100\n",
        [R(0, 3, 3, 0.644, True, None, 0.25), R(1, 8, -1, 0.0, False, None, 0.25)],
    ),
    "pandas, with its index": (
        ",sample_idx,label,base_prediction,prediction,linf_radius,l2_radius\n"
        "0,0,3,1,3,0.01,0.644\n1,1,8,8,2,0.002,0.1\n",
        [A, B],
        "l2",
    ),
    "pandas, its index alone": (",label,predict,radius\n0,3,3,0.644\n1,8,2,0.1\n", [A, B]),
    "floats for whole numbers": ("label,predict,radius\n3.0,3.0,6.44e-01\n", [A]),
    "NumPy, its comments": (
        "# n = 100000\n# label predict radius\n3.00e+00 3.00e+00 6.44e-01\n",
        [A],
    ),
    "quoted": ('"label","predict","radius","time"\n"3","3","0.644","1 day, 0:00:01"\n',
               [R(0, 3, 3, 0.644, True, 86401.0)]),
    "tensors": (
        "idx\tlabel\tpredict\tradius\n0\ttensor(3)\ttensor([3], device='cuda:0')\t[0.644]\n",
        [A],
    ),
    "a column of sigmas": (
        "idx\tlabel\tpredict\tradius\tcorrect\tbest_sigma\tpABar\ttime\n"
        "0\t3\t3\t0.644\t1\t0.31\t0.98\t1.5\n2\t5\t-1\t0.0\t0\tnan\t0.4\t1.5\n",
        [R(0, 3, 3, 0.644, True, 1.5, 0.31), R(2, 5, -1, 0.0, False, 1.5, None)],
    ),
    "the radii of ellipsoids beside": (
        "idx\tlabel\tpredict\tradius\tproxyradius\tcorrect\tsigmamin\ttimeel_elapsed\n"
        "0\t3\t3\t0.644\t9.1\t1\t0.2\t0:00:02\n",
        [R(0, 3, 3, 0.644, True, 2.0, 0.2)],
    ),
    "a header again where a run went on": (
        "idx\tlabel\tpredict\tradius\n0\t3\t3\t0.644\nidx\tlabel\tpredict\tradius\n1\t8\t2\t0.1\n",
        [A, B],
    ),
    "a tab at the end of lines": ("idx\tlabel\tpredict\tradius\t\n0\t3\t3\t0.644\t\n", [A]),
    "other names": ("Index,True Label,Predicted,Certified Radius (L2)\n0,3,3,0.644\n", [A], "l2"),
    "a column of norms": ("label,predict,radius,norm\n3,3,0.644,Linf\n", [A], "linf"),
    "a radius with its norm behind": ("label\tpredict\tradius_l1\n3\t3\t0.644\n", [A], "l1"),
    "a header between tabs, lines between spaces": (
        "idx\tlabel\tpredict\tradius\n0 3 3 0.644\n1  8  2  0.1\n",
        [A, B],
    ),
    "pictures for inputs, abstentions in words": (
        "image,label,predict,robust_radius\ncat.png,3,3,0.644\ndog.png,3,ABSTAIN,0\n",
        [A, R(1, 3, -1, 0.0, False)],
    ),
    "no inputs yet": ("idx\tlabel\tpredict\tradius\tcorrect\ttime\n", []),
}  # fmt: skip

REFUSED = {
    "a log of predictions": ("idx\tlabel\tpredict\tcorrect\ttime\n0\t3\t3\t1\t9\n", "radius"),
    "cut off": ("idx\tlabel\tpredict\tradius\tcorrect\n0\t3\t3\t0.6", "line 2: 4 columns"),
    "cut off, no header": ("3 3 0.644 1 0.9\n3 3 0.6", "line 2: 3 columns where"),
    "nothing to tell columns by": ("1 2 3 4 5 6 7\n", "no header, and 7 columns"),
    "two readings": ("3 -1 0.0 0 0\n", "2 ways"),
    "a total that jumps": ("label,predict,radius,correct\n3,3,1,1\n3,3,1,7\n", "correct is 7"),
    "two norms": ("label,predict,radius,norm\n3,3,1,l2\n3,3,1,linf\n", "more than one norm"),
    "no norm": ("label,predict,radius,norm\n3,3,1,round\n", "norm is 'round'"),
    "a radius twice": ("label,predict,radius,radius\n3,3,1,2\n", "radius is there twice"),
    "no end of a radius": ("label,predict,radius\n3,3,inf\n", "radius is 'inf'"),
    "a summary at the end": ("label,predict,radius\n3,3,1\nclean 0.8\n", "line 3: 2 columns"),
    "two sigmas of one input": (
        "sigma,idx,label,predict,radius\n.25,0,3,3,1\n.5,0,3,3,1\n",
        "input 0 is already on line 2",
    ),
    "a page": ("<!doctype html>\n<html></html>\n", "no column label, predict, radius"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_form_is_read(tmp_path: Path, kind: str) -> None:
    text, rows, *norm = KINDS[kind]
    log = tmp_path / "log"
    log.write_text(text)

    found = read_published(log)

    assert found.rows == rows
    assert [found.norm] == (norm or [None])


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    text, message = REFUSED[kind]
    log = tmp_path / "log"
    log.write_text(text)

    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_log(log)
    assert str(caught.value).startswith(str(log))
    assert "\n" not in str(caught.value)


def test_what_another_system_wrote_is_read(tmp_path: Path) -> None:
    text, rows = KINDS["commas, no index, no time"][:2]
    for encoding in ("utf-16", "utf-8-sig"):
        log = tmp_path / encoding
        log.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert read_log(log) == rows


def test_digits_and_decimals_are_those_of_the_widest_radius(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("label,predict,radius\n3,3,0.644\n3,3,1.2e-05\n3,3,1.81\n3,-1,0.123456\n")

    found = read_published(log)

    assert (found.indexed, found.digits, found.decimals) == (False, 3, 6)


pieces = st.one_of(
    st.sampled_from(
        ["idx", "label", "predict", "radius", "correct", "sigma", "norm", "\t", ",", " ", "\n", "#"]
    ),
    st.sampled_from(
        ["3", "-1", "0.5", "nan", "1e999", '"', "tensor(3)", "\x00", "\x85", "1:00:00"]
    ),
    st.text(max_size=4),
)


@given(content=st.lists(pieces, max_size=40).map("".join) | st.binary(max_size=60))
def test_whatever_a_file_holds_there_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    log = tmp_path_factory.getbasetemp() / "hostile"
    log.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    message, rows = "one line", []
    try:
        rows = read_log(log)
    except DataError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    assert all(row.radius >= 0 and row.prediction >= -1 for row in rows)

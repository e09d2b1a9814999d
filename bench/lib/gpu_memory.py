"""What a run holds on a GPU that nobody else uses, by NVIDIA's management library: asked again and again, the most counts."""

import ctypes
import threading
import time

BETWEEN = 0.01  # seconds


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


LIBRARY = "libnvidia-ml.so.1"
ELSEWHERE = "/usr/local/nvidia/lib64/" + LIBRARY  # in some containers, where the loader does not look


def _library():
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return ctypes.CDLL(ELSEWHERE)


class Gpu:
    """The first card."""

    def __init__(self):
        self.nvml = _library()
        self._check(self.nvml.nvmlInit_v2())
        self.device = ctypes.c_void_p()
        self._check(self.nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device)))

    @staticmethod
    def _check(code):
        if code != 0:
            raise OSError(f"NVML answers {code}")

    def name(self):
        text = ctypes.create_string_buffer(96)
        self._check(self.nvml.nvmlDeviceGetName(self.device, text, 96))
        return text.value.decode()

    def _memory(self):
        memory = _Memory()
        self._check(self.nvml.nvmlDeviceGetMemoryInfo(self.device, ctypes.byref(memory)))
        return memory

    def used(self):
        return self._memory().used

    def free(self):
        return self._memory().free


def first_gpu():
    """None where there is no NVIDIA driver that answers."""
    try:
        return Gpu()
    except OSError:
        return None


class Peak:
    """`with Peak(gpu) as peak:` what the card held more than at the beginning, at most."""

    def __init__(self, gpu):
        self.gpu, self.bytes = gpu, None if gpu is None else 0

    def _watch(self):
        while not self._stop.wait(BETWEEN):
            self.bytes = max(self.bytes, self.gpu.used() - self._before)

    def __enter__(self):
        if self.gpu is not None:
            self._before, self._stop = self._settled(), threading.Event()
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        return self

    def _settled(self, limit=5):
        """A process that has just ended gives its memory back a little later."""
        end, last = time.monotonic() + limit, self.gpu.used()
        while time.monotonic() < end:
            time.sleep(0.2)
            now = self.gpu.used()
            if now == last:
                break
            last = now
        return last

    def __exit__(self, *_):
        if self.gpu is not None:
            self._stop.set()
            self._thread.join()

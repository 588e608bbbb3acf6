# SPDX-License-Identifier: Apache-2.0
"""Hundreds of MQTT clients in one thread, with whole QoS 1 and 2 conversations."""
import asyncio
import contextlib
import struct

from . import mqtt
from .process import patient


class FleetClient:
    """Subscribes to a topic of its own and publishes there: what it hears is what it said."""

    def __init__(self, client_id):
        self.client_id = client_id
        self.topic = f"fleet/{client_id}"
        self.sent = 0
        self.received = []
        self._answers = {}
        self._packet_id = 0
        self._writer = None
        self._task = None

    async def connect(self, address, port):
        reader, self._writer = await asyncio.open_connection(address, port)
        self._writer.write(mqtt.connect(self.client_id, keepalive=120))
        first, body = await self._read(reader)
        if first != mqtt.CONNACK or body[1] != 0:
            raise ConnectionError(f"{self.client_id}: CONNACK {body.hex()}")
        self._task = asyncio.create_task(self._listen(reader))

    async def disconnect(self):
        self._writer.write(bytes([mqtt.DISCONNECT, 0]))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
            self._writer.close()
            await self._writer.wait_closed()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            await self._task

    async def subscribe(self, qos):
        await self._ask(lambda number: mqtt.subscribe(number, self.topic, qos), mqtt.SUBACK)

    async def publish(self, payload, qos):
        """Returns when the broker has answered as the QoS demands."""
        self.sent += 1
        if qos == 0:
            self._writer.write(mqtt.publish(self.topic, payload))
            return
        number = await self._ask(lambda number: mqtt.publish(self.topic, payload, qos, number),
                                 mqtt.PUBACK if qos == 1 else mqtt.PUBREC)
        if qos == 2:
            await self._answer_of(number, mqtt.PUBCOMP, mqtt.answer(mqtt.PUBREL, number))

    async def heard(self, count, seconds):
        """Waits until so many messages came; returns how many there are."""
        deadline = asyncio.get_running_loop().time() + patient(seconds)
        while len(self.received) < count and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        return len(self.received)

    async def _ask(self, make, answer):
        self._packet_id = self._packet_id % 65535 + 1
        number = self._packet_id
        await self._answer_of(number, answer, make(number))
        return number

    async def _answer_of(self, number, kind, packet):
        waiting = asyncio.get_running_loop().create_future()
        self._answers[kind, number] = waiting
        self._writer.write(packet)
        await asyncio.wait_for(waiting, patient(20))

    async def _listen(self, reader):
        while True:
            first, body = await self._read(reader)
            kind = first & 0xF0
            if kind == mqtt.PUBLISH:
                self._hear(first, body)
                continue
            number = struct.unpack_from("!H", body)[0] if len(body) >= 2 else 0
            if first == mqtt.PUBREL:
                self._writer.write(mqtt.answer(mqtt.PUBCOMP, number))
            elif waiting := self._answers.pop((kind, number), None):
                waiting.set_result(body)

    def _hear(self, first, body):
        _, qos, number, payload = mqtt.publish_parts(first, body)
        self.received.append(payload)
        if qos:
            self._writer.write(mqtt.answer(mqtt.PUBACK if qos == 1 else mqtt.PUBREC, number))

    @staticmethod
    async def _read(reader):
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, await reader.readexactly(length)


async def gather_in_batches(jobs, at_once=50):
    """Runs coroutines, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(job):
        async with gate:
            return await job

    return await asyncio.gather(*(one(job) for job in jobs))

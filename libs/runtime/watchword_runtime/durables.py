"""How a durable consumer is made. Apart from `work`, because provisioning needs nothing else of it."""

from typing import Final

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from watchword_events.catalogue import Durable

ACK_WAIT_S: Final = 30.0


def consumer_config(durable: Durable) -> ConsumerConfig:
    """The durable consumer as provisioning makes it. The server never gives up by itself: dead letters are our part."""
    return ConsumerConfig(
        name=durable.name,
        durable_name=durable.name,
        filter_subject=durable.subject,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=1000,
    )

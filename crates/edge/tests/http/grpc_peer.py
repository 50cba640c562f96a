"""gRPC's own library (Debian's python3-grpcio) on both sides of the load balancer, for grpc.rs.

`server ADDRESS` serves without TLS and prints its port; `client ADDRESS AUTHORITY` calls through the load balancer and prints
what it saw as JSON. Messages are bytes: no code is generated."""
import concurrent.futures, json, sys, threading, time

import grpc

PLAIN = lambda message: message
ENDLESS = threading.Event()


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        kinds = {"/test.Echo/Unary": (grpc.unary_unary_rpc_method_handler, self.unary), "/test.Echo/Down": (grpc.unary_stream_rpc_method_handler, self.down),
                 "/test.Echo/Up": (grpc.stream_unary_rpc_method_handler, self.up), "/test.Echo/Both": (grpc.stream_stream_rpc_method_handler, self.both),
                 "/test.Echo/Refuse": (grpc.unary_unary_rpc_method_handler, self.refuse), "/test.Echo/Slow": (grpc.unary_unary_rpc_method_handler, self.slow),
                 "/test.Echo/Ended": (grpc.unary_unary_rpc_method_handler, self.ended), "/test.Echo/Torn": (grpc.unary_stream_rpc_method_handler, self.torn)}
        if call.method in kinds:
            make, handle = kinds[call.method]
            return make(handle, PLAIN, PLAIN)

    def unary(self, message, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-seen", sent.get("x-asked", "")), ("x-for", sent.get("x-forwarded-for", ""))])
        context.set_trailing_metadata([("x-last", "trailer"), ("x-bytes-bin", b"\0\1\xff")])
        return message

    def down(self, message, context):
        for number in range(int(message)):
            yield b"%d" % number

    def up(self, messages, context):
        return b"%d" % sum(len(m) for m in messages)

    def both(self, messages, context):
        for message in messages:
            yield b"<" + message + b">"

    def refuse(self, message, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: é %")

    def torn(self, message, context):
        yield b"first"
        context.abort(grpc.StatusCode.DATA_LOSS, "the rest is gone")

    def slow(self, message, context):
        context.add_callback(ENDLESS.set)
        time.sleep(2)
        return message

    def ended(self, message, context):
        return b"yes" if ENDLESS.wait(5) else b"no"


def serve(address):
    options = [("grpc.max_receive_message_length", 8 << 20)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), [Echo()], options=options)
    print(server.add_insecure_port(f"{address}:0"), flush=True)
    server.start()
    server.wait_for_termination()


def call(address, authority):
    roots = open(authority, "rb").read()
    options = [("grpc.ssl_target_name_override", "a.test"), ("grpc.max_receive_message_length", 8 << 20), ("grpc.enable_retries", 0)]
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options)
    unary = lambda name: channel.unary_unary("/test.Echo/" + name, PLAIN, PLAIN)
    seen = {}

    def failure(name, what):
        try:
            what()
            seen[name] = ["OK", ""]
        except grpc.RpcError as e:
            seen[name] = [e.code().name, e.details()]

    try:
        answer, done = unary("Unary").with_call(b"hello", timeout=10, metadata=[("x-asked", "me")])
        seen["unary"] = answer.decode()
        seen["initial"] = [v for k, v in done.initial_metadata() if k == "x-seen"]
        seen["forwarded"] = [v for k, v in done.initial_metadata() if k == "x-for"]
        seen["trailing"] = sorted((k, v if isinstance(v, str) else v.hex()) for k, v in done.trailing_metadata() if k.startswith("x-"))
    except grpc.RpcError as e:
        seen["unary"] = [e.code().name, e.details()]
        print(json.dumps(seen))
        return
    seen["down"] = [int(m) for m in channel.unary_stream("/test.Echo/Down", PLAIN, PLAIN)(b"500", timeout=10)] == list(range(500))
    seen["up"] = int(channel.stream_unary("/test.Echo/Up", PLAIN, PLAIN)((b"x" * 1000 for _ in range(500)), timeout=10))
    # Each message waits for the answer to the one before: nothing on the way may hold one back.
    answered, turns = threading.Semaphore(1), []

    def questions():
        for number in range(100):
            answered.acquire()
            yield b"%d" % number
    for message in channel.stream_stream("/test.Echo/Both", PLAIN, PLAIN)(questions(), timeout=10):
        turns.append(message)
        answered.release()
    seen["both"] = turns == [b"<%d>" % number for number in range(100)]
    large = bytes(range(256)) * (4 << 12)
    seen["large"] = unary("Unary")(large, timeout=20) == large
    seen["empty"] = unary("Unary")(b"", timeout=10) == b""
    futures = [unary("Unary").future(b"%d" % number, timeout=20) for number in range(200)]
    seen["many"] = [f.result() for f in futures] == [b"%d" % number for number in range(200)]
    failure("refused", lambda: unary("Refuse")(b"", timeout=10))
    failure("unknown", lambda: unary("Nothing")(b"", timeout=10))
    failure("torn", lambda: list(channel.unary_stream("/test.Echo/Torn", PLAIN, PLAIN)(b"", timeout=10)))
    failure("late", lambda: unary("Slow")(b"", timeout=0.3))
    seen["target knows"] = unary("Ended")(b"", timeout=10).decode()
    print(json.dumps(seen))


if __name__ == "__main__":
    {"server": serve, "client": call}[sys.argv[1]](*sys.argv[2:])

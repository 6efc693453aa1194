/** The services that every gRPC server has beside its own: health (grpc.health.v1) and reflection (v1, v1alpha). */
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type {
  Server,
  ServerDuplexStream,
  ServerWritableStream,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, service as healthService } from "grpc-health-check";
import type { Health } from "../services/services.ts";
import { type Binding, serviceNames } from "./binding.ts";

/** Answers `drain`: health says NOT_SERVING from then on, and the open health and reflection streams end. */
export function addStandardServices(server: Server, bound: readonly Binding[], health: Health): () => void {
  const draining = new AbortController();
  const registrar = tamed(server, draining.signal);
  const stopServing = addHealth(registrar, health, serviceNames(bound));
  addReflection(registrar, bound);
  return () => {
    stopServing();
    draining.abort();
  };
}

type Registrar = Pick<Server, "addService">;

/** Keeps health at what the services say, for the whole server ("") and for each service by name. */
function addHealth(server: Registrar, health: Health, names: readonly string[]): () => void {
  const statuses = new HealthImplementation();
  let told: boolean | undefined;
  const set = (serving: boolean) => {
    // A watcher is told what changes, once.
    if (serving === told) return;
    told = serving;
    for (const name of ["", ...names]) statuses.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  };
  set(health.serving());
  const unsubscribe = health.onChange(() => set(health.serving()));
  statuses.addToServer(server);
  return () => {
    unsubscribe();
    set(false);
  };
}

/** Reflection out of the generated descriptors: no .proto file of ours is read. */
function addReflection(server: Registrar, bound: readonly Binding[]): void {
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    file.dependencies.forEach(collect);
  };
  for (const { method } of bound) collect(method.parent.file);
  const descriptors = [...files.values()].map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  // The library takes what proto-loader makes of .proto files, and of that looks at the descriptors alone.
  const format = "Protocol Buffer 3 EnumDescriptorProto";
  const ours = { format, type: {}, fileDescriptorProtos: descriptors } as const;
  const health = Object.entries(healthService).map(([name, { requestType }]) => [name, requestType]);
  new ReflectionService({ ours, ...Object.fromEntries(health) }).addToServer(server);
}

type StreamCall = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;
type StreamHandler = (call: StreamCall) => void;

/** Adds what the two libraries leave out to their streams. */
function tamed(server: Registrar, draining: AbortSignal): Registrar {
  return {
    addService(definition, implementation) {
      const wrapped: UntypedServiceImplementation = { ...implementation };
      for (const [name, { originalName, responseStream }] of Object.entries(definition)) {
        const key = originalName !== undefined && originalName in implementation ? originalName : name;
        const handler = implementation[key];
        if (!responseStream || handler === undefined) continue;
        wrapped[key] = tame(handler as StreamHandler, draining) as UntypedHandleCall;
      }
      server.addService(definition, wrapped);
    },
  };
}

function tame(handler: StreamHandler, draining: AbortSignal): StreamHandler {
  return (call) => {
    // Clients hold these streams open for good; each would use up the whole grace of a drain.
    const end = () => call.end();
    draining.addEventListener("abort", end);
    call.on("close", () => draining.removeEventListener("abort", end));
    handler(call);
    if (!("pause" in call)) return;
    // A caller that asks on without reading the answers is not listened to until it does, so what waits for it
    // stays bounded.
    call.on("data", () => {
      if (!call.writableNeedDrain) return;
      call.pause();
      call.once("drain", () => call.resume());
    });
  };
}

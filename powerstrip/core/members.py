"""
Whether a JSON body has one reading only, so that what a hook saw is what the engine does.

Sans-I/O: text in; a sentence where it could be read in two ways.

The engine reads JSON with Go's ``encoding/json``. It matches the members of a struct without regard
to case (``hostconfig`` is ``HostConfig``, also with a long s for its s: ``foldName`` in golang/go
``src/encoding/json/fold.go``), merges a member that comes twice into one, and its ``Decoder``
leaves what follows the first value unread (moby ``runconfig/config.go`` up to 20.10). The parser of
an adapter does none of this. So a body that makes use of it is refused, except for a few spellings
that known clients send. The keys of maps, such as labels, are the user's own: they only may not
come twice.

Which members are read where is in :data:`STRUCTS`, after the Go types of moby's ``api/types`` from
20.10 to 29 (API 1.41 to 1.56), with what older engines had besides. What is not in it is no member
to an engine of these versions; a newer one could know it, so there members that differ in case only
are refused too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from powerstrip.core.endpoints import RoutedPath
from powerstrip.errors import DownstreamProtocolError

__all__ = ["check_members"]

MAX_BRACKETS = 100_000
"""More than any client sends, and what is read in a tenth of a second: others wait meanwhile."""

STRUCTS = """
Create: +Config +HostConfig Cpuset HostConfig=HostConfig NetworkingConfig=NetworkingConfig
Config: ArgsEscaped AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env
  ExposedPorts{} Healthcheck=Health Hostname Image Labels{} MacAddress NetworkDisabled OnBuild
  OpenStdin PortSpecs PublishService Shell StdinOnce StopSignal StopTimeout Tty User VolumeDriver
  Volumes{} WorkingDir
HostConfig: +Resources Annotations{} AutoRemove Binds CapAdd CapDrop Capabilities Cgroup
  CgroupnsMode ConsoleSize ContainerIDFile Dns DnsOptions DnsSearch ExtraHosts GroupAdd Init
  IpcMode Isolation Links LogConfig=LogConfig LxcConf=KeyValue MaskedPaths Mounts=Mount
  NetworkMode OomScoreAdj PidMode PortBindings{PortBinding} Privileged PublishAllPorts
  ReadonlyPaths ReadonlyRootfs RestartPolicy=ContainerRestart Runtime SecurityOpt ShmSize
  StorageOpt{} Sysctls{} Tmpfs{} UTSMode Umask UsernsMode VolumeDriver VolumesFrom
Resources: BlkioDeviceReadBps=Throttle BlkioDeviceReadIOps=Throttle BlkioDeviceWriteBps=Throttle
  BlkioDeviceWriteIOps=Throttle BlkioWeight BlkioWeightDevice=Weight CgroupParent CpuCount
  CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod|CPURealtimePeriod
  CpuRealtimeRuntime|CPURealtimeRuntime CpuShares CpusetCpus CpusetMems DeviceCgroupRules
  DeviceRequests=DeviceRequest Devices=Device DiskQuota IOMaximumBandwidth IOMaximumIOps
  KernelMemory KernelMemoryTCP Memory MemoryReservation MemorySwap MemorySwappiness
  NanoCpus|NanoCPUs OomKillDisable PidsLimit Ulimits=Ulimit
ContainerUpdate: +Resources RestartPolicy=ContainerRestart
ContainerRestart: MaximumRetryCount Name
Throttle: Path Rate
Weight: Path Weight
Device: CgroupPermissions PathInContainer PathOnHost
DeviceRequest: Capabilities Count DeviceIDs Driver Options{}
Ulimit: Hard|hard Name|name Soft|soft
LogConfig: Config|config{} Type|type
KeyValue: Key Value
PortBinding: HostIp HostPort
Health: Interval Retries StartInterval StartPeriod Test Timeout
Mount: BindOptions=BindOptions ClusterOptions=Unknown Consistency ImageOptions=ImageOptions
  ReadOnly Source Target TmpfsOptions=TmpfsOptions Type VolumeOptions=VolumeOptions
BindOptions: CreateMountpoint NonRecursive Propagation ReadOnlyForceRecursive ReadOnlyNonRecursive
ImageOptions: Subpath
TmpfsOptions: Mode Options SizeBytes
VolumeOptions: DriverConfig=Driver Labels{} NoCopy Subpath
Driver: Name Options{}

Exec: AttachStderr AttachStdin AttachStdout Cmd ConsoleSize Container Detach DetachKeys|detachKeys
  Env Privileged Tty User WorkingDir
ExecStart: ConsoleSize Detach Tty
Checkpoint: CheckpointDir CheckpointID Exit
Copy: HostPath Resource

NetworkingConfig: EndpointsConfig{Endpoint}
Endpoint: Aliases DNSNames DriverOpts{} EndpointID Gateway GlobalIPv6Address
  GlobalIPv6PrefixLen|GlobalIPV6PrefixLen GwPriority IPAMConfig=EndpointIPAM IPAddress IPPrefixLen
  IPv6Gateway Links MacAddress NetworkID
EndpointIPAM: IPv4Address IPv6Address LinkLocalIPs
NetworkCreate: Attachable CheckDuplicate ConfigFrom=NetworkRef ConfigOnly Driver EnableIPv4
  EnableIPv6 IPAM=IPAM Ingress Internal Labels{} Name Options{} Scope
NetworkRef: Network
IPAM: Config=IPAMPool Driver Options{}
IPAMPool: AuxiliaryAddresses{} Gateway IPRange Subnet
NetworkConnect: Container EndpointConfig=Endpoint
NetworkDisconnect: Container Force

VolumeCreate: ClusterVolumeSpec=ClusterVolume Driver DriverOpts{} Labels{} Name
VolumeUpdate: Spec=ClusterVolume
ClusterVolume: AccessMode=AccessMode AccessibilityRequirements=TopologyNeeds Availability
  CapacityRange=CapacityRange Group Secrets=VolumeSecret
AccessMode: BlockVolume=Unknown MountVolume=TypeMount Scope Sharing
TypeMount: FsType MountFlags
CapacityRange: LimitBytes RequiredBytes
VolumeSecret: Key Secret
TopologyNeeds: Preferred=Topology Requisite=Topology
Topology: Segments{}

SwarmInit: AdvertiseAddr AutoLockManagers Availability DataPathAddr DataPathPort DefaultAddrPool
  ForceNewCluster ListenAddr Spec=Swarm SubnetSize
SwarmJoin: AdvertiseAddr Availability DataPathAddr JoinToken ListenAddr RemoteAddrs
SwarmUnlock: UnlockKey
Swarm: CAConfig=CA Dispatcher=Dispatcher EncryptionConfig=Encryption Labels{} Name
  Orchestration=Orchestration Raft=Raft TaskDefaults=TaskDefaults
CA: ExternalCAs=ExternalCA ForceRotate NodeCertExpiry SigningCACert SigningCAKey
ExternalCA: CACert Options{} Protocol URL
Dispatcher: HeartbeatPeriod
Encryption: AutoLockManagers
Orchestration: TaskHistoryRetentionLimit
Raft: ElectionTick HeartbeatTick KeepOldSnapshots LogEntriesForSlowFollowers SnapshotInterval
TaskDefaults: LogDriver=Driver
NodeUpdate: Availability Labels{} Name Role
Secret: Data Driver=Driver Labels{} Name Templating=Driver
Service: EndpointSpec=EndpointSpec Labels{} Mode=ServiceMode Name Networks=Attachment
  RollbackConfig=Rollout TaskTemplate=Task UpdateConfig=Rollout
ServiceMode: Global|global GlobalJob Replicated|replicated=Replicated ReplicatedJob=ReplicatedJob
Replicated: Replicas
ReplicatedJob: MaxConcurrent TotalCompletions
EndpointSpec: Mode Ports=Port
Port: Name Protocol PublishMode PublishedPort TargetPort
Attachment: Aliases DriverOpts{} Target
Rollout: Delay FailureAction MaxFailureRatio Monitor Order Parallelism
Task: ContainerSpec=ContainerSpec ForceUpdate LogDriver=Driver
  NetworkAttachmentSpec=NetworkAttachment Networks=Attachment Placement=Placement
  PluginSpec=Plugin Resources=TaskResources RestartPolicy=TaskRestart Runtime
NetworkAttachment: ContainerID
TaskRestart: Condition Delay MaxAttempts Window
TaskResources: Limits=Limit MemorySwappiness Reservations=Limit SwapBytes
Limit: GenericResources=GenericResource MemoryBytes NanoCPUs Pids
GenericResource: DiscreteResourceSpec=KindValue NamedResourceSpec=KindValue
KindValue: Kind Value
Placement: Constraints MaxReplicas Platforms=Platform Preferences=Preference
Platform: Architecture OS
Preference: Spread=Spread
Spread: SpreadDescriptor
ContainerSpec: Args CapabilityAdd CapabilityDrop Command Configs=ConfigRef DNSConfig=DNS Dir Env
  Groups Healthcheck|HealthCheck=Health Hostname Hosts Image Init Isolation Labels{} Mounts=Mount
  OomScoreAdj OpenStdin Privileges=Privileges ReadOnly Secrets=SecretRef StopGracePeriod
  StopSignal Sysctls{} TTY Ulimits=Ulimit User
DNS: Nameservers Options Search
ConfigRef: ConfigID ConfigName File=File Runtime=Unknown
SecretRef: File=File SecretID SecretName
File: GID Mode Name UID
Privileges: AppArmor=ModeOnly CredentialSpec=CredentialSpec NoNewPrivileges SELinuxContext=SELinux
  Seccomp=Seccomp
ModeOnly: Mode
CredentialSpec: Config File Registry
SELinux: Disable Level Role Type User
Seccomp: Mode Profile
Plugin: disabled|Disabled env|Env name|Name privileges|Privileges=PluginPrivilege remote|Remote
PluginPrivilege: description|Description name|Name value|Value
Privilege: Description Name Value

Auth: auth email identitytoken password registrytoken serveraddress username
Unknown:
"""
"""
The structs of the API's requests, and their members as clients spell them.

``A=B`` is a struct ``B`` or a list of them, ``A{}`` a map, ``A{B}`` a map of structs ``B``, ``A|b``
one member in two spellings, and ``+A`` stands for the members of ``A``. Second spellings come from
clients generated from the API's description (``HealthCheck``, the ``Name`` of a plugin; before 1.30
``NanoCPUs``), Docker's SDK for Python (``CPURealtimePeriod``, ``replicated``, ``detachKeys``), the
types for dockerode (``GlobalIPV6PrefixLen``), and Swarm up to 1.1 with its samalba/dockerclient
(``soft``, ``type``).
"""

BODIES = (
    (r"/containers/create|/commit", "Create"),
    (r"/containers/.+/start", "HostConfig"),  # to API 1.23: moby postContainersStart
    (r"/containers/.+/update", "ContainerUpdate"),
    (r"/containers/.+/exec", "Exec"),
    (r"/containers/.+/checkpoints", "Checkpoint"),
    (r"/containers/.+/copy", "Copy"),
    (r"/exec/.+/start", "ExecStart"),
    (r"/networks/create", "NetworkCreate"),
    (r"/networks/.+/connect", "NetworkConnect"),
    (r"/networks/.+/disconnect", "NetworkDisconnect"),
    (r"/volumes/create", "VolumeCreate"),
    (r"/volumes/.+", "VolumeUpdate"),
    (r"/swarm/init", "SwarmInit"),
    (r"/swarm/join", "SwarmJoin"),
    (r"/swarm/update", "Swarm"),
    (r"/swarm/unlock", "SwarmUnlock"),
    (r"/nodes/.+/update", "NodeUpdate"),
    (r"/services/(?:create|.+/update)", "Service"),
    (r"/(?:secrets|configs)/(?:create|.+/update)", "Secret"),
    (r"/plugins/(?:pull|.+/upgrade)", "Privilege"),
    (r"/auth", "Auth"),
)
"""
Which struct the body of a request is read into, by path: moby ``api/server/router``.
"""


@frozen
class _Member:
    spellings: tuple[str, ...]
    struct: str
    is_map: bool


class _Object(list[tuple[str, Any]]):
    """
    A JSON object with all its members, as they come. A JSON array is a plain list.
    """


def check_members(text: str, path: RoutedPath) -> None:
    """
    Refuses JSON that Go and an adapter's parser could read differently.

    Text that does not begin with a brace or a bracket is left alone: the engine reads no members
    from it.

    Args:
        text: A request's body, from UTF-8.
        path: Its path, which tells what the engine reads the body into.

    Raises:
        DownstreamProtocolError: The sentence names the member, such as ``HostConfig.privileged``.
    """
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return
    if text.count("{") + text.count("[") > MAX_BRACKETS:
        raise DownstreamProtocolError("the JSON of the body has too many parts")
    try:
        value = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant)
        _check(value, _struct_of_body(path), is_map=False, place="")
    except RecursionError:
        raise DownstreamProtocolError("the JSON of the body is nested too deep") from None
    except json.JSONDecodeError as error:
        raise DownstreamProtocolError(f"the body is not one JSON value: {error}") from None
    except ValueError:
        # Python's bound on the digits of an int: an adapter in Python could not read it.
        raise DownstreamProtocolError("the JSON of the body has too long a number") from None
    if re.search(r"\\u[dD][89a-fA-F]", text):
        _check_surrogates(value)


def _refuse_constant(name: str) -> None:
    raise DownstreamProtocolError(f"the body is not one JSON value: {name}")


def _check_surrogates(value: object) -> None:
    """
    Go puts U+FFFD in place of half a surrogate pair, Python keeps it.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise DownstreamProtocolError("the JSON of the body has half a surrogate pair") from None


def _struct_of_body(path: RoutedPath) -> str:
    for pattern, struct in BODIES:
        if re.fullmatch(pattern, path.unversioned, re.DOTALL):
            return struct
    return "Unknown"


def _check(value: list[Any], struct: str, *, is_map: bool, place: str) -> None:
    if isinstance(value, _Object):
        (_check_map if is_map else _check_struct)(value, struct, place)
        return
    for position, element in enumerate(value):
        if isinstance(element, list):
            _check(element, struct, is_map=False, place=f"{place}[{position}]")


def _check_map(value: _Object, struct: str, place: str) -> None:
    seen: set[str] = set()
    for name, element in value:
        if name in seen:
            raise _problem(place, name, "comes twice")
        seen.add(name)
        if isinstance(element, list):
            _check(element, struct, is_map=False, place=_inside(place, name))


def _check_struct(value: _Object, struct: str, place: str) -> None:
    members = _MEMBERS[struct]
    seen: dict[str, str] = {}
    for name, element in value:
        folded = _fold(name)
        member = members.get(folded)
        if folded in seen:
            what = "comes twice" if name == seen[folded] else f"is {seen[folded]} in another case"
            raise _problem(place, name, what)
        seen[folded] = name
        if member is not None and name not in member.spellings:
            raise _problem(place, name, f"must be spelled {member.spellings[0]}")
        if isinstance(element, list):
            member = member or _unknown_member(name)
            _check(element, member.struct, is_map=member.is_map, place=_inside(place, name))


def _fold(name: str) -> str:
    """
    The name as Go compares it. Of all letters, two are not ASCII and fold to one that is.
    """
    return name.replace("\u017f", "s").lower()  # and lower() makes a k of U+212A


def _unknown_member(name: str) -> _Member:
    return _Member((name,), "Unknown", name in _MAPS)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _problem(place: str, name: str, what: str) -> DownstreamProtocolError:
    shown = ascii(_inside(place, name))[1:-1]
    if len(shown) > 100:
        shown = "…" + shown[-99:]
    return DownstreamProtocolError(f"the member {shown} of the body {what}")


def _read_structs() -> dict[str, dict[str, _Member]]:
    texts = dict(paragraph.split(":", 1) for paragraph in re.split(r"\n+(?=\S)", STRUCTS.strip()))
    return {struct: dict(_read_members(texts, struct)) for struct in texts}


def _read_members(texts: dict[str, str], struct: str) -> Iterator[tuple[str, _Member]]:
    for word in texts[struct].split():
        if word.startswith("+"):
            yield from _read_members(texts, word[1:])
            continue
        names, mark, inner = re.split(r"([={]|$)", word.rstrip("}"), maxsplit=1)
        spellings = tuple(names.split("|"))
        yield _fold(spellings[0]), _Member(spellings, inner or "Unknown", is_map=mark == "{")


_MEMBERS = _read_structs()

_MAPS = frozenset(
    spelling
    for members in _MEMBERS.values()
    for member in members.values()
    if member.is_map
    for spelling in member.spellings
)
"""Members that are maps wherever they are known, so most likely also where they are not."""

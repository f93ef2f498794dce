//! Directories and files as a program sees them. Copies share what they have in common.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Stands for one file or directory for ever; never given to another.
pub(super) type NodeId = u32;

/// The names in a directory.
pub(super) type Entries = BTreeMap<Arc<str>, NodeId>;

pub(super) const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Directory(Arc<Entries>),
    File(Arc<Vec<u8>>),
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
}

/// Where a name is or would be.
pub(super) struct Place {
    pub(super) directory: NodeId,
    pub(super) name: Arc<str>,
    /// What it names now.
    pub(super) node: Option<NodeId>,
}

impl Tree {
    pub(super) fn empty() -> Self {
        let root = Node::Directory(Arc::default());
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
        }
    }

    pub(super) fn from_nodes(nodes: BTreeMap<NodeId, Node>) -> Self {
        Self { nodes }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    pub(super) fn insert(&mut self, id: NodeId, node: Node) {
        self.nodes.insert(id, node);
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    pub(super) fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(&id), Some(Node::Directory(_)))
    }

    pub(super) fn entries(&self, id: NodeId) -> io::Result<&Entries> {
        match self.nodes.get(&id) {
            Some(Node::Directory(entries)) => Ok(entries),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&self, id: NodeId) -> io::Result<&Arc<Vec<u8>>> {
        match self.nodes.get(&id) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Directory(_)) => Err(io::ErrorKind::InvalidInput.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content_mut(&mut self, id: NodeId) -> io::Result<&mut Vec<u8>> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(content)) => Ok(Arc::make_mut(content)),
            Some(Node::Directory(_)) => Err(io::ErrorKind::InvalidInput.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn link(&mut self, directory: NodeId, name: &Arc<str>, node: NodeId) {
        if let Some(Node::Directory(entries)) = self.nodes.get_mut(&directory) {
            Arc::make_mut(entries).insert(Arc::clone(name), node);
        }
    }

    pub(super) fn unlink(&mut self, directory: NodeId, name: &str) {
        if let Some(Node::Directory(entries)) = self.nodes.get_mut(&directory) {
            Arc::make_mut(entries).remove(name);
        }
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for component in path.components() {
            let entries = self.entries(at)?;
            at = *entries
                .get(plain_name(component)?)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that holds or would hold the path's last name.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let mut components = path.components();
        let name = plain_name(components.next_back().ok_or(io::ErrorKind::InvalidInput)?)?;
        let directory = self.resolve(components.as_path())?;
        let held = self.entries(directory)?.get_key_value(name);
        Ok(Place {
            directory,
            name: held.map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name)),
            node: held.map(|(_, node)| *node),
        })
    }

    /// Every file below the root with its length, in the order of the paths.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        self.visit(|path, _, content| {
            found.push((path.to_path_buf(), crate::convert::to_u64(content.len())));
        });
        found.sort();
        found
    }

    /// The path of a file, unless it was removed.
    pub(super) fn path_of(&self, file: NodeId) -> Option<PathBuf> {
        let mut found = None;
        self.visit(|path, id, _| {
            if id == file {
                found = Some(path.to_path_buf());
            }
        });
        found
    }

    /// Shows every file below the root.
    fn visit(&self, mut show: impl FnMut(&Path, NodeId, &Arc<Vec<u8>>)) {
        let mut waiting = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = waiting.pop() {
            match self.nodes.get(&id) {
                Some(Node::File(content)) => show(&path, id, content),
                Some(Node::Directory(entries)) => {
                    waiting.extend(entries.iter().map(|(name, id)| (path.join(&**name), *id)));
                }
                None => {}
            }
        }
    }
}

/// A component as a name; what could lead out of the storage is refused.
fn plain_name(component: Component<'_>) -> io::Result<&str> {
    match component {
        Component::Normal(name) => Ok(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
